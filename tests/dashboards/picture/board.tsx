// A dashboard in its grid, drawn with Grafana's own components from what `render.py` asked a Prometheus for.
import { createTheme, type DataFrame, dateTime, FieldType, LoadingState, ThresholdsMode, ThemeContext } from "@grafana/data";
import { BigValue, BigValueColorMode, BigValueGraphMode, GlobalStyles, PanelChrome, Table, TimeSeries } from "@grafana/ui";
import { type ReactNode, useEffect, useState } from "react";
import { createRoot } from "react-dom/client";

import { type Answer, type Panel, seriesOf, tableOf } from "./fields";
import { Heat } from "./heat";

type Board = {
  dashboard: Panel;
  variables: { label: string; value: string }[];
  range: string;
  zone: string;
  answers: Record<string, { from: number; to: number; queries: Answer[] }>;
};
declare global {
  interface Window {
    BOARD: Board;
    DRAWN: boolean;
  }
}

const { dashboard, variables, range, zone, answers } = window.BOARD;
const theme = createTheme({ colors: { mode: "dark" } });
const [CELL, GAP, MARGIN] = [30, 8, 16];
const WIDTH = document.documentElement.clientWidth - 2 * MARGIN;
const COLUMN = (WIDTH + GAP) / 24;

function Content({ panel, width, height }: { panel: Panel; width: number; height: number }) {
  const { from, to, queries } = answers[panel.id];
  const timeRange = { from: dateTime(from), to: dateTime(to), raw: { from: dateTime(from), to: dateTime(to) } };
  const [table, setTable] = useState<DataFrame>();
  useEffect(() => {
    if (panel.type === "table" && queries.some((query) => query.lines.length)) {
      tableOf(panel, queries, theme).then(setTable);
    }
  }, [panel, queries]);

  if (!queries.some((query) => query.lines.length)) {
    const told = panel.fieldConfig.defaults.noValue ?? "No data";
    return <div className="empty">{told}</div>;
  }
  if (panel.type === "heatmap") {
    return <Heat answer={queries[0]} width={width} height={height} unit={panel.fieldConfig.defaults.unit} theme={theme} zone={zone} />;
  }
  if (panel.type === "table") {
    const sorted = panel.options.sortBy;
    return table ? <Table data={table} width={width} height={height} initialSortBy={sorted} timeRange={timeRange} /> : null;
  }
  const frames = seriesOf(panel, queries, theme);
  if (panel.type === "stat") {
    const field = frames[0].fields[1];
    const value = field.values.filter((value) => value !== null && !Number.isNaN(value)).at(-1);
    const spark = panel.options.graphMode === BigValueGraphMode.Area && { y: field, x: frames[0].fields[0] };
    return (
      <BigValue
        value={field.display!(value)}
        sparkline={spark ? { ...spark, timeRange } : undefined}
        width={width}
        height={height}
        theme={theme}
        colorMode={BigValueColorMode.Value}
        graphMode={panel.options.graphMode}
      />
    );
  }
  return <TimeSeries frames={frames} timeRange={timeRange} timeZone={zone} width={width} height={height} legend={panel.options.legend} options={{}} />;
}

function Place({ panel, top, children }: { panel: Panel; top: number; children: ReactNode }) {
  const { x, y, w, h } = panel.gridPos;
  return (
    <div
      style={{
        position: "absolute",
        left: MARGIN + x * COLUMN,
        top: top + y * (CELL + GAP),
        width: w * COLUMN - GAP,
        height: h * (CELL + GAP) - GAP,
      }}
    >
      {children}
    </div>
  );
}

function Grid() {
  const top = 104;
  const bottom = Math.max(...dashboard.panels.map((panel: Panel) => panel.gridPos.y + panel.gridPos.h));
  useEffect(() => {
    setTimeout(() => {
      window.DRAWN = true;
    }, 2500);
  }, []);
  return (
    <div style={{ position: "relative", height: top + bottom * (CELL + GAP) + 6 }}>
      <header>
        <h1>{dashboard.title}</h1>
        <span className="range">{range}</span>
        <div className="variables">
          {variables.map(({ label, value }) => (
            <span key={label}>
              <label>{label}</label>
              <b>{value}</b>
            </span>
          ))}
        </div>
      </header>
      {dashboard.panels.map((panel: Panel) => (
        <Place key={panel.id} panel={panel} top={top}>
          {panel.type === "row" ? (
            <div className="row">⌄ {panel.title}</div>
          ) : (
            <PanelChrome
              title={panel.title.replace("${tag}", "team")}
              description={panel.description}
              width={panel.gridPos.w * COLUMN - GAP}
              height={panel.gridPos.h * (CELL + GAP) - GAP}
              loadingState={LoadingState.Done}
            >
              {(width: number, height: number) => <Content panel={panel} width={width} height={height} />}
            </PanelChrome>
          )}
        </Place>
      ))}
    </div>
  );
}

createRoot(document.getElementById("root")!).render(
  <ThemeContext.Provider value={theme}>
    <GlobalStyles />
    <Grid />
  </ThemeContext.Provider>,
);
