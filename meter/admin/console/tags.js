// Which tags there are. The port does not list them; the latest exchanges have them.

const seen = new Map();
const MOST = 3;

/** Remember the tags of exchanges. */
export function noteTags(exchanges) {
  for (const { tags } of exchanges) for (const name of Object.keys(tags)) seen.set(name, (seen.get(name) ?? 0) + 1);
}

/** The most frequent tags, as fields one may ask by, with a title each. */
export function tagFields() {
  return [...seen].sort((one, other) => other[1] - one[1]).slice(0, MOST).map(([name]) => [`tag.${name}`, name]).sort();
}
