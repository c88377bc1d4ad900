// Starts the page: signs in where the port wants a token, then keeps every panel asking.

import { forgetToken, hasToken, onRefused } from "./api.js";
import { breakdowns } from "./breakdown.js";
import { budgets } from "./budgets.js";
import { byId, h, replace, say } from "./dom.js";
import { exchanges } from "./exchanges.js";
import { utc } from "./format.js";
import { livePolls } from "./live.js";
import { missing } from "./missing.js";
import { segments } from "./segments.js";
import { signIn } from "./signin.js";
import { spend } from "./spend.js";
import { startTheme } from "./theme.js";
import { change, current, onChange, RANGES, span, widen } from "./view.js";
import { waste } from "./waste.js";

startTheme();

// Exchanges come first, since they tell which tags there are.
const panels = [exchanges(), spend(), ...breakdowns(), missing(), budgets(), waste()];
const all = [...livePolls(), ...panels];

function drawToolbar() {
  const { range, where } = current();
  segments(byId("range"), "Span", Object.entries(RANGES).map(([name, { title }]) => [name, title]), range, (chosen) => change({ range: chosen }));
  const since = new Date(span().first * 1000);
  say(byId("span"), `since ${utc(since).replace(":00 UTC", " UTC")}`);
  replace(byId("filters"), where.map(([field, value]) =>
    h("li", {}, h("button", { type: "button", class: "chip", data: { focus: field }, "aria-label": `Remove the filter ${field} = ${value}`, on: { click: () => widen(field) } }, h("bdi", {}, `${field} = ${value}`), h("span", { "aria-hidden": "true" }, " ✕")))));
}

function start() {
  byId("sign-in").hidden = true;
  byId("console").hidden = false;
  byId("sign-out").hidden = !hasToken();
  for (const each of all) each.now();
}

function stop(wrong) {
  for (const each of all) each.stop();
  byId("console").hidden = true;
  byId("sign-out").hidden = true;
  signIn(wrong, start);
}

onRefused(() => stop(hasToken()));
onChange(() => {
  drawToolbar();
  for (const each of panels) each.turn();
});
byId("sign-out").addEventListener("click", () => {
  forgetToken();
  stop(false);
});
byId("skip").addEventListener("click", (event) => {
  event.preventDefault();  // what is behind the # is the view
  byId("console").focus();
});

drawToolbar();
setInterval(drawToolbar, 30_000);
start();
