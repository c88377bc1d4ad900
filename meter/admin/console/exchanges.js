// The latest exchanges, a line each, with a bar: how long its client waited for the first token, and the rest.

import { ask } from "./api.js";
import { details } from "./details.js";
import { figure, h, isMarked, replace } from "./dom.js";
import { clockTime, count, exact, money, moneyExact, seconds, utc } from "./format.js";
import { outcome } from "./outcomes.js";
import { panel } from "./panel.js";
import { noteTags } from "./tags.js";
import { current } from "./view.js";

const SHOWN = 20;
const ASKED = 200;

async function load() {
  const { where } = current();
  const { exchanges } = await ask("/api/exchanges", [["limit", where.length ? ASKED : SHOWN]]);
  noteTags(exchanges);
  return { exchanges: exchanges.filter((each) => where.every(([field, value]) => of(each, field) === value)).slice(0, SHOWN), where };
}

function of(exchange, field) {
  return (field.startsWith("tag.") ? exchange.tags[field.slice(4)] : exchange[field]) ?? "none";
}

function draw({ exchanges, where }, body) {
  if (isMarked(body)) return;
  if (!exchanges.length) {
    replace(body, h("p", { class: "empty" }, where.length ? `None of the last ${ASKED} exchanges passes the filter.` : "No exchange yet. The first shows up here as soon as it has ended."));
    return;
  }
  const longest = nice(Math.max(...exchanges.map((each) => each.duration_s)));
  const titles = [["Time"], ["Outcome"], ["Operation"], ["Model"], ["Key"], ["Input", "number"], ["Output", "number"], ["Cost", "number"]];
  replace(body, h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Latest exchanges" },
    h("table", { class: "figures exchanges" },
      h("thead", {}, h("tr", {}, titles.map(([title, kind]) => h("th", { scope: "col", class: kind }, title)), h("th", { scope: "col", class: "time-scale" }, h("span", { class: "scale" }, h("span", {}, "0"), h("span", {}, "duration"), h("span", {}, `${Number(longest.toPrecision(2))} s`))))),
      h("tbody", {}, exchanges.map((each) => line(each, longest))))));
}

function line(each, longest) {
  const input = kinds(each, "input");
  const output = kinds(each, "output");
  return h("tr", { class: "choice", data: { row: each.id }, on: { click: () => details(each) } },
    h("td", {}, h("button", { type: "button", class: "name", title: utc(each.timestamp), "aria-label": `Details of the exchange at ${clockTime(each.timestamp)}`, data: { focus: each.id }, on: { click: (event) => { event.stopPropagation(); details(each); } } }, clockTime(each.timestamp))),
    h("td", {}, outcome(each.outcome, each.error_type || `status ${each.status}`)),
    h("td", { class: "quiet" }, each.operation),
    h("td", { class: "cut", title: each.model }, each.model),
    h("td", { class: "cut", title: each.key }, each.key),
    h("td", { class: "number" }, tokens(input)),
    h("td", { class: "number" }, tokens(output)),
    h("td", { class: "number" }, paid(each)),
    h("td", { class: "time-scale" }, bar(each, longest)));
}

function kinds({ usage }, kind) {
  const found = Object.entries(usage).filter(([name]) => name.startsWith(kind));
  return found.length ? found.reduce((sum, [, n]) => sum + n, 0) : null;
}

const tokens = (n) => (n === null ? h("span", { class: "quiet" }, "–") : figure(n, count(n), exact(n)));

function paid(each) {
  if (each.cost_usd === null) return figure(null, each.price_status === "none" ? "–" : "unknown", each.price_status === "none" ? "nothing that costs was used" : "no price is known for this", { class: "unknown" });
  const estimated = each.usage_source === "estimated";
  return figure(each.cost_usd, (estimated ? "≈ " : "") + money(each.cost_usd, 6), moneyExact(each.cost_usd) + (estimated ? ", by estimated usage" : ""));
}

function bar(each, longest) {
  const wait = Math.min(each.ttft_s ?? 0, each.duration_s);
  const whole = h("span", { class: "span", "aria-hidden": "true" }, wait > 0 && h("span", { class: "wait" }), h("span", { class: `rest ${each.outcome === "ok" ? "" : "broken"}` }));
  whole.style.setProperty("--whole", String(each.duration_s / longest));
  whole.style.setProperty("--part", String(each.duration_s ? wait / each.duration_s : 0));
  const title = each.ttft_s === null ? `${each.duration_s} s` : `first token after ${each.ttft_s} s, ${each.duration_s} s in all`;
  return h("span", { class: "timing", title }, whole, figure(each.duration_s, seconds(each.duration_s), title));
}

/** The next round number of seconds. */
function nice(longest) {
  const step = 10 ** Math.floor(Math.log10(Math.max(longest, 0.01)));
  return [1, 1.5, 2, 3, 5, 10].map((times) => times * step).find((limit) => limit >= longest) ?? longest;
}

export const exchanges = () => panel("exchanges", load, draw);
