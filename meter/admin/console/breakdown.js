// What was used and spent, by model, key or another field: a table that can be sorted, and a click narrows
// the page to a row.

import { ask } from "./api.js";
import { byId, figure, h, isMarked, replace } from "./dom.js";
import { count, exact, money, moneyExact, places, share } from "./format.js";
import { panel } from "./panel.js";
import { segments } from "./segments.js";
import { tagFields } from "./tags.js";
import { asked, change, current, narrow } from "./view.js";

const MOST_ROWS = 8;

const tokens = (row, kind) => Object.entries(row.usage).reduce((sum, [name, n]) => sum + (name.startsWith(kind) ? n : 0), 0);
const part = (some, all) => (all ? some / all : null);

/** Columns: what they sort by, and how a cell is shown. */
const COLUMNS = {
  requests: { title: "Requests", of: (row) => row.requests, show: count },
  errors: { title: "Not ok", about: "requests whose outcome is not ok, those that clients left included", of: (row) => part(row.errors, row.requests), show: share, full: (row) => `${exact(row.errors)} of ${exact(row.requests)}` },
  input: { title: "Input", about: "input tokens of all kinds, cached ones included", of: (row) => tokens(row, "input"), show: count },
  output: { title: "Output", about: "output tokens of all kinds, reasoning included", of: (row) => tokens(row, "output"), show: count },
  cached: { title: "Cached", about: "share of input that came from a cache", of: (row) => part(tokens(row, "input_cached"), tokens(row, "input")), show: share, full: (row) => `${exact(tokens(row, "input_cached"))} of ${exact(tokens(row, "input"))} input tokens` },
  cost_usd: { title: "Cost", of: (row) => (row.cost_usd === null ? null : Number(row.cost_usd)) },
};

/** The sides: which section, and which fields it may be by. */
const SIDES = {
  left: { about: "Rows", fields: () => [["model", "Models"], ["upstream", "Upstreams"], ["operation", "Operations"]] },
  right: { about: "Rows", fields: () => [["key", "Keys"], ["outcome", "Outcomes"], ...tagFields()] },
};

/** The panels, one a side. */
export function breakdowns() {
  return Object.keys(SIDES).map(breakdown);
}

function breakdown(side) {
  const sorted = { column: "cost_usd", down: true };
  let all = false;

  async function load() {
    const field = current()[side];
    return { field, ...(await ask("/api/usage", asked(field))) };
  }

  function draw(found, body, section) {
    const fields = SIDES[side].fields();
    segments(byId(`${side}-by`), "Rows", fields, found.field, (chosen) => change({ [side]: chosen }));
    byId(`${side}-title`).textContent = fields.find(([field]) => field === found.field)?.[1] ?? found.field;
    Object.assign(section.dataset, { since: found.since, until: found.until });
    if (isMarked(body)) return;
    replace(body, found.rows.length ? table(found, () => draw(found, body, section)) : empty());
  }

  function table(found, redraw) {
    const most = Math.max(...found.rows.map((row) => Number(row.cost_usd ?? 0)));
    const digits = places(Math.max(most, Number(found.total.cost_usd ?? 0)));
    const rows = ordered(found.rows);
    const shown = all ? rows : rows.slice(0, MOST_ROWS);
    const heads = Object.entries(COLUMNS).map(([name, column]) => head(name, column, redraw));
    return [
      h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `Table by ${found.field}` },
        h("table", { class: "figures" },
          h("thead", {}, h("tr", {}, head("name", { title: title(found.field) }, redraw), heads)),
          h("tbody", {}, shown.map((row) => line(row, found, most, digits))),
          h("tfoot", {}, h("tr", { data: { row: "total" } }, h("th", { scope: "row" }, "Total"), cells(found.total, digits), cost(found.total, digits))),
        ),
      ),
      rows.length > MOST_ROWS && h("button", { class: "plain more", type: "button", data: { focus: "more" }, on: { click: () => { all = !all; redraw(); } } }, all ? "Show fewer" : `Show all ${rows.length}`),
    ];
  }

  function head(name, column, redraw) {
    const state = sorted.column !== name ? "none" : sorted.down ? "descending" : "ascending";
    const sort = () => {
      sorted.down = sorted.column === name ? !sorted.down : name !== "name";
      sorted.column = name;
      redraw();
    };
    return h("th", { scope: "col", "aria-sort": state, title: column.about, class: name === "name" ? null : "number" },
      h("button", { type: "button", data: { focus: `sort ${name}` }, on: { click: sort } }, column.title, h("span", { class: "arrow", "aria-hidden": "true" }, { none: "", descending: "↓", ascending: "↑" }[state])));
  }

  function ordered(rows) {
    const field = current()[side];
    const of = sorted.column === "name" ? (row) => row[field] ?? "" : COLUMNS[sorted.column].of;
    const way = sorted.down ? -1 : 1;
    return rows.toSorted((one, other) => {
      const [a, b] = [of(one), of(other)];
      if (a === null || b === null) return (a === null) - (b === null);  // what is not known comes last
      return way * (typeof a === "string" ? a.localeCompare(b) : a - b);
    });
  }

  return panel(side, load, draw);
}

function line(row, { field }, most, digits) {
  const name = row[field] ?? "none";
  const choose = () => narrow(field, name);
  return h("tr", { class: "choice", data: { row: name }, on: { click: choose } },
    h("th", { scope: "row" }, h("button", { type: "button", class: "name", title: `${name}: show this alone`, data: { focus: `row ${name}` }, on: { click: (event) => { event.stopPropagation(); choose(); } } }, name), marks(row)),
    cells(row, digits), cost(row, digits, most));
}

function cells(row) {
  return Object.entries(COLUMNS).filter(([name]) => name !== "cost_usd").map(([name, column]) => {
    const value = column.of(row);
    return h("td", { class: "number", data: { column: name } }, figure(value, column.show(value), column.full?.(row) ?? exact(value)));
  });
}

function cost(row, digits, most = 0) {
  const known = row.cost_usd !== null;
  const bar = h("span", { class: "share", "aria-hidden": "true" });
  bar.style.setProperty("--share", String(most > 0 && known ? Number(row.cost_usd) / most : 0));
  return h("td", { class: "number cost", data: { column: "cost_usd" } }, figure(row.cost_usd, money(row.cost_usd, digits), moneyExact(row.cost_usd), { class: known ? "" : "unknown" }), most > 0 && bar);
}

/** What one should know of a row's cost, in words. */
function marks(row) {
  const found = [];
  if (row.unpriced_tokens) found.push(h("span", { class: "mark warn", title: `${exact(row.unpriced_tokens)} tokens have no known price: the cost is too low by these` }, `△ ${count(row.unpriced_tokens)} tokens unpriced`));
  if (Number(row.estimated_cost_usd ?? 0) > 0) found.push(h("span", { class: "mark", title: `${moneyExact(row.estimated_cost_usd)} rests on estimated usage` }, "≈ partly estimated"));
  return found.length > 0 && h("span", { class: "marks" }, found);
}

function title(field) {
  const name = field.startsWith("tag.") ? field.slice(4) : field;
  return name[0].toUpperCase() + name.slice(1);
}

function empty() {
  return h("p", { class: "empty" }, "Nothing passed in this span", current().where.length ? " and this filter." : ".");
}
