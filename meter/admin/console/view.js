// What is looked at: the span, what it is told apart by, and the filter. It is in the address behind the #,
// so that a view can be kept and sent.

const MINUTE = 60;
const HOUR = 3600;
const DAY = 86_400;

/** Spans by name: how many buckets of how many seconds, and the field that tells them apart. */
export const RANGES = {
  "1h": { title: "1 h", bucket: "minute", step: MINUTE, buckets: 60 },
  "24h": { title: "24 h", bucket: "hour", step: HOUR, buckets: 24 },
  "7d": { title: "7 d", bucket: "hour", step: HOUR, buckets: 168 },
  "30d": { title: "30 d", bucket: "day", step: DAY, buckets: 30 },
  "90d": { title: "90 d", bucket: "day", step: DAY, buckets: 90 },
};

const MEASURED = ["cost", "tokens", "requests"];
const PLAIN = { range: "1h", measure: "cost", by: "model", left: "model", right: "key" };

let view = read();
const watchers = [];

/** What is looked at. @returns {{range: string, measure: string, by: string, left: string, right: string, where: string[][]}} */
export const current = () => view;

/** Look at something else. */
export function change(part) {
  const said = new URLSearchParams();
  const next = { ...view, ...part };
  for (const name of Object.keys(PLAIN)) if (next[name] !== PLAIN[name]) said.set(name, next[name]);
  for (const [field, value] of next.where) said.append("where", `${field}=${value}`);
  const hash = String(said);
  history.replaceState(null, "", hash ? `#${hash}` : location.pathname);
  turn();
}

/** Add a condition; of one field the last one counts. */
export function narrow(field, value) {
  change({ where: [...view.where.filter(([other]) => other !== field), [field, value]] });
}

/** Take a condition away. */
export function widen(field) {
  change({ where: view.where.filter(([other]) => other !== field) });
}

export function onChange(watcher) {
  watchers.push(watcher);
}

/** The span: its first moment, in seconds, and its buckets. The first bucket is whole, the last under way. */
export function span() {
  const range = RANGES[view.range];
  const last = Math.floor(Date.now() / 1000 / range.step) * range.step;
  return { ...range, first: last - (range.buckets - 1) * range.step, last };
}

/** The parameters that ask about the span, of what passes the filter. */
export function asked(by, { first } = span()) {
  return [
    ["by", by],
    ["since", new Date(first * 1000).toISOString().replace(".000Z", "Z")],
    ...view.where.map(([field, value]) => ["where", `${field}=${value}`]),
  ];
}

function read() {
  const said = new URLSearchParams(location.hash.slice(1));
  const told = Object.fromEntries(Object.keys(PLAIN).map((name) => [name, said.get(name) ?? PLAIN[name]]));
  const where = said.getAll("where").map((each) => [each.split("=", 1)[0], each.slice(each.indexOf("=") + 1)]);
  if (!MEASURED.includes(told.measure)) told.measure = PLAIN.measure;
  return { ...told, range: Object.hasOwn(RANGES, told.range) ? told.range : PLAIN.range, where: where.filter(([field]) => field) };
}

function turn() {
  view = read();
  for (const watcher of watchers) watcher(view);
}

addEventListener("hashchange", turn);
