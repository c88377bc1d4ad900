// Layers as stacked bars over time, drawn by uPlot. It knows neither the API nor what the numbers mean.

import { h } from "./dom.js";
import { token } from "./theme.js";

const WIDEST_BAR = 64;
const HEIGHT = 252;
const CLOCK_STEPS = [300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400];

/** The colour of a layer. */
export const colour = (slot) => token(slot === null ? "--series-others" : `--series-${slot + 1}`);

/**
 * Draw bars into an element; `point` is called with the index of the bucket that is pointed at, or null.
 * @param {HTMLElement} element
 * @param {{moments: number[], step: number, layers: {slot: number | null, heights: number[]}[],
 *          tick: (value: number) => string, when: (second: number) => string, days: boolean, point: (index: number | null) => void}} told
 */
export function bars(element, told) {
  const { moments, step, layers, days } = told;
  const band = h("div", { class: "band" });
  const plot = new uPlot(
    {
      width: Math.max(280, element.clientWidth),
      height: HEIGHT,
      padding: [10, 16, 0, 0],
      legend: { show: false },
      tzDate: (second) => (days ? uPlot.tzDate(new Date(second * 1000), "Etc/UTC") : new Date(second * 1000)),
      cursor: { y: false, x: false, points: { show: false }, drag: { x: false, y: false, setScale: false }, dataIdx: (chart, _, __, second) => under(second, moments, step) },
      scales: { x: { range: () => [moments[0], moments.at(-1) + step] }, y: { range: (_, __, most) => [0, most > 0 ? most * 1.06 : 1] } },
      axes: [
        { ...axis(), ...(days ? { splits: middles(told) } : { incrs: CLOCK_STEPS }), space: 80, size: 30, grid: { show: false }, ticks: { stroke: token("--line"), width: 1, size: 4 }, values: (_, at) => at.map((second) => (second < moments.at(-1) + step ? told.when(second) : "")) },
        { ...axis(), size: 58, space: 44, ticks: { show: false }, values: (_, at) => at.map((value) => told.tick(value)) },
      ],
      series: [{}, ...sums(layers).map(({ slot }) => ({ stroke: token("--panel"), width: 1 / devicePixelRatio, fill: colour(slot), points: { show: false }, paths: uPlot.paths.bars({ align: 1, size: [0.86, WIDEST_BAR] }) }))],
      hooks: { setCursor: [(chart) => point(chart, band, told)] },
    },
    [moments, ...sums(layers).map(({ heights }) => heights)],
    element,
  );
  plot.over.prepend(band);
  return plot;
}

/** Layers from the whole down to the lowest: each is drawn over those before it. */
function sums(layers) {
  const found = [];
  let below = null;
  for (const { slot, heights } of layers) {
    const base = below;
    below = heights.map((height, index) => height + (base?.[index] ?? 0));
    found.push({ slot, heights: below.map((top, index) => (heights[index] > 0 ? top : null)) });
  }
  return found.reverse();
}

const axis = () => ({ stroke: token("--quiet"), font: `11px ${token("--font")}`, grid: { stroke: token("--line"), width: 1 } });

/** Where days are named: in their middle. */
function middles({ moments, step }) {
  return (_, __, ___, ____, gap) => moments.filter((_____, index) => index % Math.max(1, Math.round(gap / step)) === 0).map((moment) => moment + step / 2);
}

function under(second, moments, step) {
  return Math.min(moments.length - 1, Math.max(0, Math.floor((second - moments[0]) / step)));
}

/** Point at the bucket that is so many further. */
export function step(plot, { moments, step: width }, by) {
  const { left } = plot.cursor;
  const from = left === undefined || left < 0 ? (by > 0 ? -1 : moments.length) : under(plot.posToVal(left, "x"), moments, width);
  const index = Math.min(moments.length - 1, Math.max(0, from + by));
  plot.setCursor({ left: plot.valToPos(moments[index] + width / 2, "x"), top: 1 });
}

function point(chart, band, { moments, step, point: tell }) {
  const { left } = chart.cursor;
  const index = left === undefined || left < 0 ? null : under(chart.posToVal(left, "x"), moments, step);
  band.hidden = index === null;
  if (index !== null) {
    const start = chart.valToPos(moments[index], "x");
    band.style.left = `${start}px`;
    band.style.width = `${chart.valToPos(moments[index] + step, "x") - start}px`;
  }
  tell(index);
}
