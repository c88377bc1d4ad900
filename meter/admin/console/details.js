// One exchange with all that the log tells of it, in a dialog.

import { copyButton } from "./copy.js";
import { byId, h, replace } from "./dom.js";
import { bytes, clockTime, exact, moneyExact, seconds, utc } from "./format.js";
import { outcome } from "./outcomes.js";

const SHOWN = {
  timestamp: (value) => `${clockTime(value)} (${utc(value)})`,
  cost_usd: (value, { price_status: status }) => (value === null && status === "none" ? "none" : moneyExact(value)),
  provider_cost_usd: (value) => (value === null ? "not told" : moneyExact(value)),
  duration_s: seconds, ttft_s: seconds, overhead_s: seconds,
  request_bytes: bytes, response_bytes: bytes,
};
const LEFT_OUT = new Set(["id", "level", "event", "outcome"]);

/** Show an exchange. */
export function details(exchange) {
  const dialog = byId("details");
  const rows = Object.entries(exchange).filter(([name]) => !LEFT_OUT.has(name)).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", { data: { field: name, value: raw(value) }, title: raw(value) || null }, shown(name, value, exchange))));
  replace(dialog,
    h("header", {}, h("h2", { id: "details-title" }, "Exchange"), outcome(exchange.outcome), h("button", { type: "button", class: "plain close", "aria-label": "Close", on: { click: () => dialog.close() } }, "✕")),
    h("p", { class: "id" }, h("code", {}, exchange.id), copyButton(exchange.id, "the id")),
    h("dl", { class: "fields" }, rows));
  dialog.onclick = (event) => event.target === dialog && dialog.close();
  dialog.showModal();
}

const raw = (value) => (value === null ? "" : typeof value === "object" ? JSON.stringify(value) : String(value));

function shown(name, value, exchange) {
  if (SHOWN[name]) return SHOWN[name](value, exchange);
  if (value === null || value === "") return h("span", { class: "quiet" }, "–");
  if (Array.isArray(value)) return value.join(", ") || h("span", { class: "quiet" }, "–");
  if (typeof value === "object") {
    const told = Object.entries(value);
    return told.length ? told.map(([each, of]) => h("span", { class: "pair-of" }, h("span", { class: "quiet" }, `${each} `), typeof of === "number" ? exact(of) : of)) : h("span", { class: "quiet" }, "–");
  }
  return typeof value === "number" ? String(value) : typeof value === "boolean" ? (value ? "yes" : "no") : value;
}
