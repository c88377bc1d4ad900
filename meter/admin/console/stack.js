// Rows by time and by name, made into layers: the largest few by name, and the exact rest as one.

import { amount, pico } from "./amounts.js";

const MOST = 8;
const OTHERS = "others";

/** What can be stacked: how much of it a row has, exactly; and how that is told. */
export const MEASURES = {
  cost: { title: "Cost", of: (row) => (row.cost_usd === null ? 0n : pico(row.cost_usd)), told: amount },
  tokens: { title: "Tokens", of: (row) => BigInt(Object.values(row.usage).reduce((sum, n) => sum + n, 0)), told: String },
  requests: { title: "Requests", of: (row) => BigInt(row.requests), told: String },
};

/** @type {Map<string, number>} */
let slots = new Map();
let slotsOf = "";

/**
 * @typedef {{name: string, slot: number | null, total: bigint, values: bigint[]}} Layer
 * @param {object[]} rows as /api/usage has them, by `bucket` and `field`
 * @returns {{layers: Layer[], totals: bigint[], total: bigint, unpriced: number[]}} the largest layer first
 */
export function stacked(rows, { bucket, field, measure, moments }) {
  const { of } = MEASURES[measure];
  const at = new Map(moments.map((moment, index) => [moment, index]));
  const named = new Map();
  const unpriced = moments.map(() => 0);
  for (const row of rows) {
    const index = at.get(began(row[bucket]));
    if (index === undefined) continue;
    unpriced[index] += row.unpriced_tokens;
    const name = row[field] ?? "none";
    const layer = named.get(name) ?? { name, total: 0n, values: moments.map(() => 0n) };
    named.set(name, layer);
    layer.values[index] += of(row);
    layer.total += of(row);
  }
  const ranked = [...named.values()].filter((layer) => layer.total > 0n).sort((a, b) => (a.total === b.total ? a.name.localeCompare(b.name) : a.total > b.total ? -1 : 1));
  const few = ranked.slice(0, MOST);
  paint(`${field} ${measure}`, few);
  const rest = ranked.slice(MOST);
  if (rest.length) few.push({ name: `${OTHERS} (${rest.length})`, slot: null, total: plus(rest.map((layer) => layer.total)), values: moments.map((_, index) => plus(rest.map((layer) => layer.values[index]))) });
  return { layers: few, unpriced, total: plus(few.map((layer) => layer.total)), totals: moments.map((_, index) => plus(few.map((layer) => layer.values[index]))) };
}

const plus = (values) => values.reduce((sum, value) => sum + value, 0n);

/** The second in which a bucket began, from its name: a day, an hour or a minute. */
function began(name) {
  return Date.parse(name.length === 10 ? `${name}T00:00:00Z` : name) / 1000;
}

/** Give each layer a colour, which it keeps for as long as it is among the largest. */
function paint(what, layers) {
  if (slotsOf !== what) slots = new Map();
  slotsOf = what;
  const kept = new Map(layers.filter(({ name }) => slots.has(name)).map(({ name }) => [name, slots.get(name)]));
  const free = Array.from({ length: MOST }, (_, slot) => slot).filter((slot) => ![...kept.values()].includes(slot));
  for (const layer of layers) {
    if (!kept.has(layer.name)) kept.set(layer.name, free.shift());
    layer.slot = kept.get(layer.name);
  }
  slots = kept;
}
