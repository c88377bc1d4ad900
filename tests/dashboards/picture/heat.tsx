// A heatmap, drawn by hand: Grafana's own is a plugin, and no package has it.
import { dateTimeFormat, getValueFormat, type GrafanaTheme2 } from "@grafana/data";
import { useLayoutEffect, useRef } from "react";

import type { Answer } from "./fields";

const SPECTRAL = ["#5e4fa2", "#3288bd", "#66c2a5", "#abdda4", "#e6f598", "#ffffbf", "#fee08b", "#fdae61", "#f46d43", "#d53e4f", "#9e0142"];
const LEFT = 68;
const BOTTOM = 22;

type Props = { answer: Answer; width: number; height: number; unit: string; theme: GrafanaTheme2; zone: string };

export function Heat({ answer, width, height, unit, theme, zone }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  useLayoutEffect(() => {
    const brush = canvas.current?.getContext("2d");
    if (brush) {
      brush.setTransform(2, 0, 0, 2, 0, 0);
      brush.clearRect(0, 0, width, height);
      draw(brush, { answer, width, height, unit, theme, zone });
    }
  });
  return <canvas ref={canvas} width={width * 2} height={height * 2} style={{ width, height }} />;
}

function draw(brush: CanvasRenderingContext2D, { answer, width, height, unit, theme, zone }: Props) {
  const buckets = answer.lines
    .map((line) => ({ le: Number(line.labels.le.replace("+Inf", "Infinity")), line }))
    .sort((a, b) => a.le - b.le);
  const counts = buckets.map(({ line }, row) =>
    line.values.map((value, at) => Math.max(0, (value ?? 0) - (row ? (buckets[row - 1].line.values[at] ?? 0) : 0))),
  );
  const used = counts.map((row) => Math.max(...row) > 1e-9);
  const first = Math.max(0, used.indexOf(true) - 1);
  const last = Math.min(buckets.length - 1, used.lastIndexOf(true) + 1);
  const rows = last - first + 1;
  const most = Math.max(...counts.flat());
  const times = buckets[0].line.times;
  const across = (width - LEFT - 8) / times.length;
  const up = (height - BOTTOM - 6) / rows;
  const text = getValueFormat(unit);

  brush.font = "12px Inter, sans-serif";
  brush.textBaseline = "middle";
  for (let row = first; row <= last; row++) {
    const y = height - BOTTOM - (row - first + 1) * up;
    brush.fillStyle = theme.colors.text.secondary;
    brush.textAlign = "right";
    if ((row - first) % Math.ceil(16 / up) === 0 && Number.isFinite(buckets[row].le)) {
      const told = text(buckets[row].le, buckets[row].le < 1 ? 1 : 0);
      brush.fillText(`${told.text}${told.suffix ?? ""}`, LEFT - 8, y);
    }
    counts[row].forEach((count, at) => {
      if (count > 1e-9) {
        brush.fillStyle = SPECTRAL[Math.min(SPECTRAL.length - 1, Math.floor(Math.sqrt(count / most) * SPECTRAL.length))];
        brush.fillRect(LEFT + at * across, y + 0.5, Math.max(across - 0.6, 0.8), up - 1);
      }
    });
  }
  brush.fillStyle = theme.colors.text.secondary;
  brush.textAlign = "center";
  const steps = Math.max(2, Math.floor(width / 110));
  for (let step = 1; step < steps; step++) {
    const at = Math.floor((times.length * step) / steps);
    brush.fillText(dateTimeFormat(times[at], { format: "HH:mm", timeZone: zone }), LEFT + at * across, height - 9);
  }
}
