// A line of the last minutes, without axes: only whether and how it moves.

import { svg } from "./dom.js";

const WIDTH = 120;
const HEIGHT = 28;

/**
 * Draw one line or several on a common scale from 0; where nothing is known there is a gap.
 * @param {(number | null)[][]} lines
 */
export function spark(lines) {
  const most = Math.max(...lines.flat().map((value) => value ?? 0), 1e-12);
  const across = (index, all) => (WIDTH * index) / Math.max(1, all.length - 1);
  const down = (value) => HEIGHT - 1 - ((HEIGHT - 3) * value) / most;
  const drawn = lines.flatMap((line, rank) => {
    const runs = known(line);
    const paths = runs.map((run) => run.map(([index, value]) => `${across(index, line).toFixed(1)} ${down(value).toFixed(1)}`));
    const stroke = paths.map((points) => (points.length > 1 ? `M${points.join("L")}` : `M${points[0]}h0`)).join("");
    const area = rank > 0 || lines.length > 1 ? "" : paths
      .map((points, at) => `M${across(runs[at][0][0], line).toFixed(1)} ${HEIGHT}L${points.join("L")}L${across(runs[at].at(-1)[0], line).toFixed(1)} ${HEIGHT}Z`)
      .join("");
    return [area && svg("path", { d: area, class: "area" }), stroke && svg("path", { d: stroke, class: `line rank-${rank}` })];
  });
  const told = { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" };
  return svg("svg", told, ...drawn.filter(Boolean));
}

function known(line) {
  const runs = [];
  let run = null;
  for (const [index, value] of line.entries()) {
    if (value === null || value === undefined) run = null;
    else if (run) run.push([index, value]);
    else runs.push((run = [[index, value]]));
  }
  return runs;
}
