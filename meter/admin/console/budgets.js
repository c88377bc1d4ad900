// What may be spent, and how much of it has been.

import { ask } from "./api.js";
import { figure, h, replace } from "./dom.js";
import { money, moneyExact, share, until, utc } from "./format.js";
import { panel } from "./panel.js";

const NEAR = 0.8;

function draw({ budgets }, body) {
  replace(body, budgets.length ? h("ul", { class: "items" }, budgets.map(item)) : h("p", { class: "empty" }, "No budget is set. ", h("code", {}, "budgets:"), " in the settings says what a key, a team or everybody may spend."));
}

function item(budget) {
  const used = Number(budget.spent_usd) / Number(budget.usd);
  const state = used >= 1 ? ["bad", budget.stop ? "⊘ reached: requests are refused" : "▲ reached"] : used >= NEAR ? ["warn", "△ four fifths are spent"] : ["good", "✓ within"];
  const bar = h("span", { class: `progress ${state[0]}`, role: "progressbar", "aria-label": `Budget ${budget.name}`, "aria-valuemin": 0, "aria-valuemax": 100, "aria-valuenow": Math.min(100, Math.round(used * 100)) });
  bar.style.setProperty("--share", String(Math.min(1, used)));
  return h("li", { data: { row: budget.name } },
    h("div", { class: "headline" }, h("span", { class: "name" }, budget.name), h("span", { class: "quiet" }, whose(budget)), h("span", { class: "push" }, figure(budget.spent_usd, money(budget.spent_usd), moneyExact(budget.spent_usd)), " of ", figure(budget.usd, money(budget.usd), moneyExact(budget.usd)))),
    bar,
    h("div", { class: "headline quiet" }, h("span", { class: `word ${state[0]}` }, state[1]), h("span", {}, share(used)), h("span", { class: "push", title: utc(budget.ends) }, `per ${budget.period}, new in ${until(budget.ends)}`)));
}

function whose({ key, tags, upstream }) {
  const told = [key && `key ${key}`, upstream && `upstream ${upstream}`, ...Object.entries(tags).map(([name, value]) => `${name} ${value}`)].filter(Boolean);
  return told.join(", ") || "all";
}

export const budgets = () => panel("budgets", () => ask("/api/budgets"), draw);
