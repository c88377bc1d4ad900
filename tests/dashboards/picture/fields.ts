// From what Prometheus answered to the data frames that Grafana's components draw.
//
// A panel's field settings are applied here as Grafana applies them: the defaults, then the overrides by name.
import {
  type DataFrame,
  FieldType,
  type GrafanaTheme2,
  getDisplayProcessor,
  getMinMaxAndDelta,
  standardTransformers,
  standardTransformersRegistry,
  toDataFrame,
  transformDataFrame,
} from "@grafana/data";
import { firstValueFrom } from "rxjs";

export type Line = { name: string; labels: Record<string, string>; times: number[]; values: (number | null)[] };
export type Answer = { refId: string; lines: Line[] };
// biome-ignore lint: a panel is JSON
export type Panel = any;

standardTransformersRegistry.setInit(() =>
  [standardTransformers.mergeTransformer, standardTransformers.organizeFieldsTransformer].map((transformation) => ({
    id: transformation.id,
    name: transformation.name,
    transformation,
    editor: () => null,
  })) as never,
);

export function seriesOf(panel: Panel, answers: Answer[], theme: GrafanaTheme2): DataFrame[] {
  const frames = answers.flatMap((answer) =>
    answer.lines.map((line) =>
      toDataFrame({
        refId: answer.refId,
        fields: [
          { name: "Time", type: FieldType.time, values: line.times, config: {} },
          { name: line.name, type: FieldType.number, values: line.values, config: {} },
        ],
      }),
    ),
  );
  return styled(panel, frames, theme);
}

export async function tableOf(panel: Panel, answers: Answer[], theme: GrafanaTheme2): Promise<DataFrame> {
  const frames = answers.map((answer) => {
    const labels = [...new Set(answer.lines.flatMap((line) => Object.keys(line.labels)))].sort();
    const value = answers.length > 1 ? `Value #${answer.refId}` : "Value";
    return toDataFrame({
      refId: answer.refId,
      fields: [
        { name: "Time", type: FieldType.time, values: answer.lines.map((line) => line.times[0]) },
        ...labels.map((label) => ({
          name: label,
          type: FieldType.string,
          values: answer.lines.map((line) => line.labels[label] ?? ""),
        })),
        { name: value, type: FieldType.number, values: answer.lines.map((line) => line.values[0]) },
      ],
    });
  });
  const [whole] = await firstValueFrom(transformDataFrame(panel.transformations, frames));
  return styled(panel, [whole], theme)[0];
}

function styled(panel: Panel, frames: DataFrame[], theme: GrafanaTheme2): DataFrame[] {
  const { defaults, overrides } = panel.fieldConfig;
  let place = 0;
  for (const frame of frames) {
    for (const field of frame.fields) {
      const name = field.config.displayName ?? field.name; // renamed by a transformation
      // What every field of a panel has, unless the panel says otherwise
      field.config = { color: { mode: "thresholds" }, ...structuredClone(defaults), custom: { ...defaults.custom } };
      if (field.type !== FieldType.number) {
        delete field.config.unit;
      }
      for (const { matcher, properties } of overrides ?? []) {
        if (matcher.options === name) {
          for (const { id, value } of properties) {
            set(field.config, id.split("."), value);
          }
        }
      }
      field.state = { displayName: name };
      field.config.displayName = name;
      if (field.type === FieldType.number) {
        field.state.seriesIndex = place++;
        field.state.range = getMinMaxAndDelta(field);
      }
      field.display = getDisplayProcessor({ field, theme, timeZone: "utc" });
    }
  }
  return frames;
}

function set(holder: Record<string, unknown>, [first, ...rest]: string[], value: unknown) {
  if (rest.length === 0) {
    holder[first] = value;
    return;
  }
  holder[first] ??= {};
  set(holder[first] as Record<string, unknown>, rest, value);
}
