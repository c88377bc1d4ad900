// What was spent over time, in layers: the chart, its legend, and the same as a table.

import { ask } from "./api.js";
import { bars, colour, step } from "./chart.js";
import { byId, figure, h, isMarked, replace, say } from "./dom.js";
import { count, dateTime, day, exact, minuteTime, money, moneyExact, moneyTick, places, utc, utcDay } from "./format.js";
import { panel } from "./panel.js";
import { segments } from "./segments.js";
import { MEASURES, stacked } from "./stack.js";
import { tagFields } from "./tags.js";
import { onTheme } from "./theme.js";
import { asked, change, current, span } from "./view.js";

const FIELDS = [["model", "Model"], ["key", "Key"], ["upstream", "Upstream"]];

let plot = null;
let asTable = false;
let shown = null;

async function load() {
  const view = current();
  const over = span();
  const found = await ask("/api/usage", asked(`${over.bucket},${view.by}`, over));
  const moments = Array.from({ length: over.buckets }, (_, index) => over.first + index * over.step);
  return { ...found, view, over, moments };
}

function draw(found, body, section) {
  const { view, over, moments } = found;
  segments(byId("spend-measure"), "What is shown", Object.entries(MEASURES).map(([name, { title }]) => [name, title]), view.measure, (measure) => change({ measure }));
  segments(byId("spend-by"), "Told apart by", [...FIELDS, ...tagFields()], view.by, (by) => change({ by }));
  Object.assign(section.dataset, { since: found.since, until: found.until });
  const stack = stacked(found.rows, { bucket: over.bucket, field: view.by, measure: view.measure, moments });
  shown = { ...found, stack, tell: teller(view.measure, stack) };
  if (isMarked(body)) return;
  const cursor = plot?.cursor;
  plot?.destroy();
  plot = null;
  if (!stack.layers.length) replace(body, empty(found));
  else if (asTable) replace(body, table(shown));
  else picture(body, shown, cursor);
}

/** How amounts of a measure are told: short, in full, and on the axis. */
function teller(measure, stack) {
  if (measure !== "cost") return { short: (value) => count(Number(value)), full: (value) => exact(Number(value)), tick: (value) => count(value), scale: 1 };
  const digits = places(Number(stack.total) / 1e12);
  const usd = MEASURES.cost.told;
  return { short: (value) => money(usd(value), digits), full: (value) => moneyExact(usd(value)), tick: moneyTick, scale: 1e12 };
}

function picture(body, { stack, over, moments, tell }, cursor) {
  const canvas = h("div", { class: "plot", role: "group", tabindex: "0", "aria-label": summary(shown), data: { focus: "plot" }, on: { keydown } });
  const legend = h("div", { class: "legend" });
  replace(body, h("div", { class: "chart" }, canvas, legend));
  drawLegend(legend, null);
  const layers = stack.layers.map(({ slot, values }) => ({ slot, heights: values.map((value) => Number(value) / tell.scale) }));
  plot = bars(canvas, { moments, step: over.step, layers, tick: tell.tick, when: tick(over), days: over.bucket === "day", point: (index) => drawLegend(legend, index) });
  if (cursor?.left >= 0) plot.setCursor({ left: cursor.left, top: cursor.top });
}

function keydown(event) {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!by || !plot) return;
  event.preventDefault();
  step(plot, { moments: shown.moments, step: shown.over.step }, by);
}

function tick(over) {
  if (over.bucket === "day") return (second) => utcDay(second * 1000);
  return (second) => {
    const local = new Date(second * 1000);
    return local.getHours() || local.getMinutes() ? minuteTime(local) : day(local);
  };
}

/** The legend, from the top of the stack to its ground; with a bucket's values, or the whole span's. */
function drawLegend(element, index) {
  const { stack, tell, over, moments, view } = shown;
  const of = (layer) => (index === null ? layer.total : layer.values[index]);
  const all = index === null ? stack.total : stack.totals[index];
  const rows = stack.layers.toReversed().map((layer) => {
    const swatch = h("span", { class: "swatch", "aria-hidden": "true" });
    swatch.style.background = colour(layer.slot);
    return h("tr", { data: { row: layer.name }, class: of(layer) === 0n ? "none" : null }, h("th", { scope: "row", title: layer.name }, swatch, h("span", { class: "name" }, layer.name)), h("td", { class: "number" }, figure(MEASURES[view.measure].told(of(layer)), tell.short(of(layer)), tell.full(of(layer)))));
  });
  const unpriced = index === null ? stack.unpriced.reduce((sum, n) => sum + n, 0) : stack.unpriced[index];
  replace(element,
    h("p", { class: "when", title: index === null ? null : utc(moments[index] * 1000) }, index === null ? `${over.title}, total` : name(moments[index], over)),
    h("table", {}, h("caption", { class: "unseen" }, "Legend"), h("thead", { class: "total" }, h("tr", { data: { row: "total" } }, h("th", { scope: "row" }, MEASURES[view.measure].title), h("td", { class: "number" }, figure(MEASURES[view.measure].told(all), tell.short(all), tell.full(all))))), h("tbody", {}, rows)),
    view.measure === "cost" && h("p", { class: unpriced ? "mark warn" : "mark" }, unpriced ? `△ ${count(unpriced)} tokens unpriced` : ""));
}

const name = (second, { bucket }) => (bucket === "day" ? `${utcDay(second * 1000)} (UTC)` : dateTime(second * 1000));

function summary({ stack, tell, over, view }) {
  const largest = stack.layers[0];
  return `${MEASURES[view.measure].title} over ${over.title} by ${view.by}: ${tell.short(stack.total)} in all, most of it ${largest.name} with ${tell.short(largest.total)}. Arrow keys go through it; the same is there as a table.`;
}

function table({ stack, tell, over, moments, view }) {
  const cell = (value) => h("td", { class: "number" }, figure(MEASURES[view.measure].told(value), value === 0n ? "–" : tell.short(value), tell.full(value)));
  const line = (index) => h("tr", {}, h("th", { scope: "row", title: utc(moments[index] * 1000) }, name(moments[index], over)), stack.layers.map((layer) => cell(layer.values[index])), cell(stack.totals[index]));
  const used = moments.map((_, index) => index).filter((index) => stack.totals[index] > 0n).reverse();
  return h("div", { class: "scroll tall", tabindex: "0", role: "region", "aria-label": "Spend over time as a table" },
    h("table", { class: "figures" },
      h("thead", {}, h("tr", {}, h("th", { scope: "col" }, over.bucket), stack.layers.map((layer) => h("th", { scope: "col", class: "number" }, layer.name)), h("th", { scope: "col", class: "number" }, "Total"))),
      h("tbody", {}, used.map(line)),
      h("tfoot", {}, h("tr", {}, h("th", { scope: "row" }, "Total"), stack.layers.map((layer) => cell(layer.total)), cell(stack.total)))));
}

function empty({ total, view }) {
  if (total.requests && view.measure === "cost") return h("p", { class: "empty" }, total.unpriced_tokens ? `No cost is known in this span: ${exact(total.unpriced_tokens)} tokens have no price. See “Without a price” below.` : "What passed in this span cost nothing.");
  if (total.requests) return h("p", { class: "empty" }, "Nothing of this was used in the span.");
  if (view.where.length) return h("p", { class: "empty" }, "Nothing passed in this span and this filter.");
  return h("div", { class: "empty" }, h("p", {}, "Nothing passed in this span. Point a client at Meter:"), h("p", {}, h("code", {}, `export OPENAI_BASE_URL=http://${location.hostname}:8080/v1`)), h("p", { class: "quiet" }, "8080 is the proxy's port unless the settings say otherwise."));
}

/** The panel, which follows its width and the colours. */
export function spend() {
  const found = panel("spend", load, draw);
  const toggle = byId("spend-table");
  toggle.addEventListener("click", () => {
    asTable = !asTable;
    toggle.setAttribute("aria-pressed", String(asTable));
    say(toggle, asTable ? "Show as chart" : "Show as table");
    found.redraw();
  });
  onTheme(found.redraw);
  new ResizeObserver(() => {
    const width = byId("spend").querySelector(".plot")?.clientWidth;
    if (plot && width && width !== plot.width) plot.setSize({ width, height: plot.height });
  }).observe(byId("spend"));
  return found;
}
