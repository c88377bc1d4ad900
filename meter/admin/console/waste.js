// What was paid for and not used: answers that nobody waited for, that were cut short, caches that nobody read.

import { ask } from "./api.js";
import { figure, h, isMarked, replace } from "./dom.js";
import { count, exact, money, moneyExact } from "./format.js";
import { panel } from "./panel.js";
import { asked } from "./view.js";

const MOST = 4;

const PARTS = [
  ["keys", "By key", "all that was cancelled or cut short", (row) => spent(row)],
  ["cancelled", "Cancelled", "the client left before the answer's end", (row) => spent(row)],
  ["cut_short", "Cut short", "the answer ended for the most tokens that were allowed", (row) => spent(row)],
  ["rate_limited", "Rate limited", "refused for coming too fast: costs nothing but time and a retry", (row) => [times(row)]],
  ["unread", "Caches written, hardly read", "writing costs more than plain input; reading pays it back", (row) => [figure(row.written_tokens, count(row.written_tokens), exact(row.written_tokens)), " written, ", figure(row.read_tokens, count(row.read_tokens), exact(row.read_tokens)), " read"]],
];

const times = (row) => h("span", {}, figure(row.requests, count(row.requests), exact(row.requests)), "×");
const spent = (row) => [times(row), " ", figure(row.cost_usd, money(row.cost_usd), moneyExact(row.cost_usd), { class: row.cost_usd === null ? "unknown" : "" })];

function draw(found, body, section) {
  if (isMarked(body)) return;
  Object.assign(section.dataset, { since: found.since, until: found.until });
  const parts = PARTS.filter(([name]) => found[name].length);
  replace(body, parts.length ? parts.map((part) => group(part, found)) : h("p", { class: "empty good" }, "✓ Nothing in this span."));
}

function group([name, title, about, tell], found) {
  const rows = found[name];
  const lines = rows.slice(0, MOST).map((row) => h("li", { data: { row: row.key } }, h("span", { class: "cut", title: row.key }, row.key), row.model !== undefined && h("span", { class: "cut quiet", title: row.model }, row.model), h("span", { class: "push" }, tell(row))));
  return h("section", { class: "waste", data: { part: name } }, h("h3", { title: about }, title, h("small", {}, about)), h("ul", {}, lines), rows.length > MOST && h("p", { class: "quiet" }, `and ${rows.length - MOST} more`));
}

export const waste = () => panel("waste", () => ask("/api/waste", asked("").filter(([name]) => name === "since")), draw, 15);
