// What was used without a price, with the line that a price file lacks.

import { ask } from "./api.js";
import { copyButton } from "./copy.js";
import { figure, h, isMarked, replace } from "./dom.js";
import { count, exact } from "./format.js";
import { panel } from "./panel.js";
import { asked } from "./view.js";

const MOST = 6;
let all = false;

async function load() {
  return ask("/api/prices/missing", asked("").filter(([name]) => name === "since"));
}

function draw({ missing }, body, section) {
  if (isMarked(body)) return;
  section.querySelector("[data-aside]").textContent = missing.length ? `△ ${count(missing.reduce((sum, row) => sum + row.tokens, 0))} tokens` : "";
  if (!missing.length) return replace(body, h("p", { class: "empty good" }, "✓ Nothing lacks a price."));
  const shown = all ? missing : missing.slice(0, MOST);
  const toggle = () => { all = !all; draw({ missing }, body, section); };
  replace(body, h("ul", { class: "items" }, shown.map(item)),
    missing.length > MOST && h("button", { class: "plain more", type: "button", data: { focus: "more" }, on: { click: toggle } }, all ? "Show fewer" : `Show all ${missing.length}`));
}

function item(row) {
  const what = `${row.model} at ${row.upstream}`;
  return h("li", { data: { row: row.model } },
    h("div", { class: "headline" }, h("span", { class: "name", title: what }, row.model), h("span", { class: "quiet" }, "at ", row.upstream), h("span", { class: "push" }, figure(row.tokens, count(row.tokens), exact(row.tokens)), " tokens, ", figure(row.requests, count(row.requests), exact(row.requests)), row.requests === 1 ? " request" : " requests")),
    row.line && h("div", { class: "line" }, h("code", { tabindex: "0" }, row.line.trim()), copyButton(row.line, `the price line of ${row.model}`, `copy ${what}`)));
}

export const missing = () => panel("missing", load, draw, 15);
