// What is going on now: the header's pills and the strip of figures, every two seconds.

import { ask, Refusal, Silence } from "./api.js";
import { byId, figure, h, replace, say } from "./dom.js";
import { clockTime, count, exact, money, moneyExact, rate, seconds, share, utc } from "./format.js";
import { poll } from "./poll.js";
import { spark } from "./spark.js";

const EVERY_S = 2;
const SLOWEST_S = 15;
const LOOKED_BACK_S = 600;

const perSecond = (name) => (cell, live) => cell[name] / live.cell_s;
const one = (name, value, shown, title) => [{ name, value, shown, title }];
const quantiles = (name) => (live) =>
  ["p50", "p99"].map((each) => ({
    name: `${name}.${each}`,
    value: live[name][each],
    shown: seconds(live[name][each]),
    title: live[name][each] === null ? "none in the last minute" : `${live[name][each]} s`,
    label: each,
  }));

/** What the strip shows: the figures of a tile, the lines below them, and a remark. */
const TILES = [
  {
    title: "Requests",
    unit: "/s",
    figures: (live) => one("requests_per_s", live.requests_per_s, rate(live.requests_per_s), `${exact(live.requests)} in ${live.window_s} s`),
    lines: [perSecond("requests")],
  },
  {
    title: "In flight",
    figures: (live) => one("in_flight", live.in_flight, count(live.in_flight), exact(live.in_flight)),
    lines: [(cell) => cell.in_flight],
  },
  {
    title: "Cost today",
    figures: (_, today) => today.figures,
    lines: [(cell) => Number(cell.cost_usd)],
    remark: (_, today) => today.remark,
  },
  {
    title: "Tokens",
    unit: "/s",
    figures: (live) => one("tokens_per_s", live.tokens_per_s, rate(live.tokens_per_s), `${exact(live.tokens)} in ${live.window_s} s`),
    lines: [perSecond("tokens")],
  },
  {
    title: "Failed",
    figures: (live) => one("error_share", live.error_share, share(live.error_share), `${exact(live.errors)} of ${exact(live.requests)}`),
    lines: [(cell) => (cell.requests ? cell.errors / cell.requests : null)],
    remark: (live) => (live.client_closed ? `${count(live.client_closed)} left by clients` : ""),
  },
  { title: "First token", figures: quantiles("ttft_s"), lines: [(cell) => cell.ttft_p50_s, (cell) => cell.ttft_p99_s] },
  { title: "Duration", figures: quantiles("duration_s"), lines: [(cell) => cell.duration_p50_s, (cell) => cell.duration_p99_s] },
];

const today = { figures: one("cost_today_usd", null, "–", "not known yet"), remark: "UTC day" };
let live = null;
let silentSince = null;
let failures = 0;

function drawStrip() {
  replace(byId("strip"), TILES.map(tile));
}

function tile({ title, unit, figures, lines, remark }) {
  const shown = figures(live, today).map(({ name, value, shown: text, title: all, label }) =>
    h("span", { class: "reading" }, label && h("small", {}, label), figure(value, text, all, { data: { figure: name } }), unit && h("small", {}, unit)),
  );
  const note = remark?.(live, today);
  const before = Array(Math.max(0, LOOKED_BACK_S / live.cell_s - live.cells.length)).fill(null);
  const drawn = lines.map((line) => [...before, ...live.cells.map((cell) => line(cell, live))]);
  return h("div", { class: "tile" }, h("dt", {}, title, note && h("small", { class: "remark" }, note)), h("dd", {}, h("span", { class: "readings" }, shown), spark(drawn)));
}

function drawHeader() {
  say(byId("version"), live.version);
  const pills = live.upstreams.map(({ name, up, in_flight: busy }) =>
    h(
      "li",
      { class: up ? "pill up" : "pill down", data: { upstream: name } },
      h("span", { class: "sign", "aria-hidden": "true" }, up ? "▲" : "▼"),
      h("span", { class: "name" }, name),
      h("span", { class: "state" }, up ? "up" : "down"),
      busy > 0 && h("span", { class: "quiet", title: `${exact(busy)} requests in flight` }, count(busy)),
    ),
  );
  const drawn = JSON.stringify(live.upstreams);
  if (byId("upstreams").dataset.drawn !== drawn) replace(byId("upstreams"), pills);
  byId("upstreams").dataset.drawn = drawn;
}

function drawNotices() {
  const notices = [];
  if (silentSince !== null) notices.push(["bad", `Not answering since ${clockTime(silentSince)}. What is shown is as of then.`]);
  else if (live?.draining) notices.push(["warn", `Draining: no new requests are welcome, and ${exact(live.in_flight)} are under way.`]);
  const drawn = JSON.stringify(notices);
  if (byId("notices").dataset.drawn === drawn) return;
  byId("notices").dataset.drawn = drawn;
  replace(byId("notices"), notices.map(([kind, sentence]) => h("p", { class: `notice ${kind}` }, h("span", { "aria-hidden": "true" }, kind === "bad" ? "▼ " : "◆ "), sentence)));
}

function drawPulse() {
  byId("pulse").dataset.state = silentSince === null ? "live" : "silent";
  say(byId("pulse-text"), silentSince === null ? `live ${clockTime(live.at)}` : `silent since ${clockTime(silentSince)}`);
  byId("pulse").title = live ? `${utc(live.at)}; up since ${utc(live.started)}` : "";
}

async function look() {
  try {
    live = await ask("/api/live");
    silentSince = null;
    failures = 0;
    drawStrip();
    drawHeader();
  } catch (error) {
    if (error instanceof Refusal && error.status === 401) return EVERY_S;
    if (!(error instanceof Refusal || error instanceof Silence)) throw error;
    silentSince ??= Date.now();
    failures += 1;
  }
  drawNotices();
  drawPulse();
  return Math.min(SLOWEST_S, EVERY_S * 2 ** Math.min(failures, 3));
}

async function countToday() {
  const midnight = new Date().toISOString().slice(0, 10);
  try {
    const { total } = await ask("/api/usage", [["by", ""], ["since", midnight]]);
    const known = total.cost_usd;
    today.figures = one("cost_today_usd", known, total.requests ? money(known) : "$0", total.requests ? moneyExact(known) : "no request today");
    today.remark = total.unpriced_tokens ? `△ ${count(total.unpriced_tokens)} unpriced` : "UTC day";
  } catch (error) {
    if (error instanceof Silence) return;
    if (!(error instanceof Refusal)) throw error;
    today.figures = one("cost_today_usd", null, "unknown", error.message);
    today.remark = error.message === "the ledger is off" ? "no ledger" : "no answer";
  }
  if (live) drawStrip();
}

/** What looks at the port, again and again. */
export const livePolls = () => [poll(look, EVERY_S), poll(countToday, 10)];
