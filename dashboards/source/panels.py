"""The house's panels: one function for each kind, so that all of a kind look alike.

A panel says what it shows and when to worry. A query is an expression and the name of its lines; what a panel
needs beyond that is given to it by keyword.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from string import ascii_uppercase
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from grafana_foundation_sdk.builders import common, heatmap, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as grafana
from grafana_foundation_sdk.models import common as options
from grafana_foundation_sdk.models import heatmap as heatmaps
from grafana_foundation_sdk.models.dashboard import (
    DataSourceRef,
    DataTransformerConfig,
    DynamicConfigValue,
    FieldColorModeId,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
)
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "Column",
    "Look",
    "Panel",
    "Query",
    "about",
    "bars",
    "heats",
    "lines",
    "number",
    "rows",
    "stack",
]

Panel: TypeAlias = "timeseries.Panel | stat.Panel | table.Panel | heatmap.Panel"
_P = TypeVar("_P", timeseries.Panel, stat.Panel, table.Panel, heatmap.Panel)
Steps: TypeAlias = "Sequence[tuple[float, str]]"
"""Thresholds: from this value on, this colour. Below all of them it is green."""

DATASOURCE = DataSourceRef(type_val="prometheus", uid="${datasource}")
GREEN, YELLOW, ORANGE, RED, BLUE, GREY = "green", "#EAB839", "orange", "red", "blue", "#8e8e8e"
QUANTILES = {"p50": GREEN, "p90": YELLOW, "p99": RED}
OUTCOMES = {
    "ok": GREEN,
    "client_closed": GREY,
    "client_error": YELLOW,
    "rejected": "purple",
    "truncated": ORANGE,
    "stream_error": "dark-orange",
    "timeout": "light-red",
    "unreachable": "dark-red",
    "upstream_error": RED,
}
SURENESS = {
    "exact": GREEN,
    "list": BLUE,
    "provider": "super-light-blue",
    "reported": GREEN,
    "estimated": YELLOW,
    "missing": RED,
    "none": GREY,
}


_NARROWEST = 70  # of a table's columns, in pixels: Grafana's own 150 would push the last ones out of sight


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What of a panel differs from others of its kind."""

    width: int
    height: int
    unit: str
    decimals: int | None = None
    steps: Steps = ()
    most: float | None = None
    """The top of its scale."""
    since: str | None = None
    """A range of its own."""
    room: float | None = None
    """As far as its scale goes at least."""
    empty: str | None = None
    """Shown where there is nothing."""
    colors: Mapping[str, str] = field(default_factory=dict)
    """Of lines by name, where a name has a colour of its own."""


@dataclass(frozen=True, slots=True)
class Query:
    """An expression, and what its lines are called."""

    expression: str
    name: str = ""
    exemplars: bool = False

    def built(self, number: int) -> prometheus.Dataquery:
        """Return it as a query over the panel's range, the `number`th of the panel."""
        query = prometheus.Dataquery().expr(self.expression).legend_format(self.name or "__auto").range()
        if self.exemplars:
            query = query.exemplar(exemplar=True)
        return query.ref_id(ascii_uppercase[number]).datasource(DATASOURCE)

    def at_the_end(self, number: int) -> prometheus.Dataquery:
        """Return it as a query at the end of the panel's range."""
        return self.built(number).instant()


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table: a query, and how its values look."""

    title: str
    expression: str
    unit: str
    decimals: int | None = None
    steps: Steps = ()
    bar: bool = False
    """A bar behind the value, as long as it is large."""
    most: float | None = None
    words: Mapping[str, tuple[str, str]] | None = None
    """Values that show as a word, in a colour."""


def about(shows: str, worry: str) -> str:
    """Return a panel's description: what it shows, and when that is bad."""
    return f"{shows}\n\n**Worry** {worry}"


def number(title: str, description: str, query: Query, look: Look, *, latest: bool = False) -> stat.Panel:
    """Return one large number; `latest` where it is one of the whole range, and not of each moment."""
    panel = _styled(stat.Panel(), title, description, look)
    panel = panel.with_target(query.at_the_end(0) if latest else query.built(0))
    graph = options.BigValueGraphMode.NONE if latest else options.BigValueGraphMode.AREA
    return (
        panel.graph_mode(graph)
        .color_mode(options.BigValueColorMode.VALUE)
        .justify_mode(options.BigValueJustifyMode.AUTO)
        .text_mode(options.BigValueTextMode.VALUE)
        .orientation(options.VizOrientation.AUTO)
        .wide_layout(wide_layout=True)
        .reduce_options(_last())
        .color_scheme(grafana.FieldColor().mode(FieldColorModeId.THRESHOLDS))
    )


def lines(
    title: str,
    description: str,
    queries: Iterable[Query],
    look: Look,
    *,
    log: bool = False,
    right: bool = False,
) -> timeseries.Panel:
    """Return lines over time, with their last and mean values beside their names."""
    panel = _styled(timeseries.Panel(), title, description, look)
    for place, query in enumerate(queries):
        panel = panel.with_target(query.built(place))
    for name, color in look.colors.items():
        panel = panel.override_by_name(name, [_value("color", {"mode": "fixed", "fixedColor": color})])
    if look.room is not None:
        panel = panel.axis_soft_max(look.room)
    if look.steps:
        panel = panel.thresholds_style(
            common.GraphThresholdsStyleConfig().mode(options.GraphThresholdsStyleMode.DASHED)
        )
    if log:
        panel = panel.scale_distribution(
            common.ScaleDistributionConfig().type(options.ScaleDistribution.LOG).log(10)
        )
    else:
        panel = panel.axis_soft_min(0)
    return (
        panel.draw_style(options.GraphDrawStyle.LINE)
        .line_interpolation(options.LineInterpolation.LINEAR)
        .line_width(1)
        .fill_opacity(10)
        .gradient_mode(options.GraphGradientMode.OPACITY)
        .show_points(options.VisibilityMode.NEVER)
        .span_nulls(span_nulls=False)
        .color_scheme(grafana.FieldColor().mode(FieldColorModeId.PALETTE_CLASSIC))
        .legend(_legend(right=right))
        .tooltip(
            common.VizTooltipOptions()
            .mode(options.TooltipDisplayMode.MULTI)
            .sort(options.SortOrder.DESCENDING)
        )
    )


def stack(
    title: str, description: str, queries: Iterable[Query], look: Look, *, right: bool = False
) -> timeseries.Panel:
    """Return areas on top of each other: their sum means something."""
    return (
        lines(title, description, queries, look, right=right)
        .stacking(common.StackingConfig().mode(options.StackingMode.NORMAL).group("A"))
        .fill_opacity(45)
        .gradient_mode(options.GraphGradientMode.NONE)
    )


def bars(
    title: str, description: str, queries: Iterable[Query], look: Look, *, each: str
) -> timeseries.Panel:
    """Return a stacked bar for each span of time."""
    return (
        stack(title, description, queries, look, right=True)
        .draw_style(options.GraphDrawStyle.BARS)
        .fill_opacity(80)
        .line_width(0)
        .bar_width_factor(0.8)
        .bar_alignment(options.BarAlignment.AFTER)
        .interval(each)
        .legend(_legend(right=True, calculations=["sum"]))
    )


def heats(title: str, description: str, histogram: str, look: Look) -> heatmap.Panel:
    """Return a heatmap: how many, by bucket and time."""
    panel = _styled(heatmap.Panel(), title, description, look)
    target = Query(histogram, "{{le}}").built(0).format(PromQueryFormat.HEATMAP)
    color = (
        heatmap.HeatmapColorOptions()
        .mode(heatmaps.HeatmapColorMode.SCHEME)
        .scheme("Spectral")
        .fill("dark-orange")
        .scale(heatmaps.HeatmapColorScale.EXPONENTIAL)
        .exponent(0.5)
        .steps(64)
        .reverse(reverse=True)
    )
    return (
        panel.with_target(target)
        .calculate(calculate=False)
        .color(color)
        .cell_gap(1)
        .filter_values(heatmap.FilterValueRange().le(1e-9))
        .y_axis(heatmap.YAxisConfig().unit(look.unit).axis_placement(options.AxisPlacement.LEFT))
        .rows_frame(heatmap.RowsHeatmapOptions().layout(options.HeatmapCellLayout.AUTO))
        .cell_values(heatmap.CellValues().unit("short").decimals(0))
        .mode(options.TooltipDisplayMode.SINGLE)
        .show_y_histogram()
        .exemplars_color("rgba(255,0,255,0.7)")
        .show_legend()
    )


def rows(
    title: str,
    description: str,
    names: Mapping[str, str],
    columns: Sequence[Column],
    look: Look,
    *,
    sort: str,
    falling: bool = True,
) -> table.Panel:
    """Return a table: a row for each combination of labels, which `names` give their titles."""
    panel = _styled(table.Panel(), title, description, look)
    renamed = {label: shown for label, shown in names.items() if shown}
    for place, column in enumerate(columns):
        query = Query(column.expression).at_the_end(place).format(PromQueryFormat.TABLE)
        panel = panel.with_target(query).override_by_name(column.title, list(_column(column)))
        renamed[f"Value #{ascii_uppercase[place]}" if len(columns) > 1 else "Value"] = column.title
    # Without an order labels come first, which is all that a label whose name is a variable can have.
    order = {old: place for place, old in enumerate(renamed)} if all(names.values()) else {}
    return (
        panel.with_transformation(DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(
            DataTransformerConfig(
                id_val="organize",
                options={"excludeByName": {"Time": True}, "indexByName": order, "renameByName": renamed},
            )
        )
        .sort_by([common.TableSortByFieldState().display_name(sort).desc(desc=falling)])
        .show_header(show_header=True)
        .min_width(_NARROWEST)
        .cell_height(options.TableCellHeight.SM)
        .footer(common.TableFooterOptions().show(show=False).reducer(["sum"]).count_rows(count_rows=False))
        .filterable(filterable=False)
    )


def _styled(panel: _P, title: str, description: str, look: Look) -> _P:
    """Give a panel what every panel has."""
    panel = panel.title(title).description(description).datasource(DATASOURCE)
    panel = panel.span(look.width).height(look.height).unit(look.unit).thresholds(_thresholds(look.steps))
    if look.decimals is not None:
        panel = panel.decimals(look.decimals)
    if look.most is not None:
        panel = panel.max(look.most)
    if look.since is not None:
        panel = panel.time_from(look.since).hide_time_override(hide_time_override=True)  # the title says it
    if look.empty is not None:
        panel = panel.no_value(look.empty)
    return panel


def _thresholds(steps: Steps) -> grafana.ThresholdsConfig:
    told = [Threshold(value=None, color=GREEN), *(Threshold(value=at, color=color) for at, color in steps)]
    return grafana.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(told)


def _last() -> common.ReduceDataOptions:
    return common.ReduceDataOptions().calcs(["lastNotNull"]).values(values=False).fields("")


def _legend(*, right: bool, calculations: Sequence[str] = ("lastNotNull", "mean")) -> common.VizLegendOptions:
    placement = options.LegendPlacement.RIGHT if right else options.LegendPlacement.BOTTOM
    return (
        common.VizLegendOptions()
        .display_mode(options.LegendDisplayMode.TABLE)
        .placement(placement)
        .show_legend(show_legend=True)
        .calcs(list(calculations))
        .sort_by({"lastNotNull": "Last *", "sum": "Total"}[calculations[0]])
        .sort_desc(sort_desc=True)
    )


def _value(property_id: str, value: object) -> DynamicConfigValue:
    return DynamicConfigValue(id_val=property_id, value=value)


def _column(column: Column) -> Iterable[DynamicConfigValue]:
    yield _value("unit", column.unit)
    if column.decimals is not None:
        yield _value("decimals", column.decimals)
    if column.most is not None:
        yield _value("max", column.most)
    if column.steps:
        yield _value("thresholds", _thresholds(column.steps).build())
    if column.words:
        yield _value("mappings", [_words(column.words)])
    if column.bar:
        yield _value("min", 0)
        yield _value("custom.cellOptions", {"type": "gauge", "mode": "basic", "valueDisplayMode": "text"})
    elif column.steps or column.words:
        yield _value("custom.cellOptions", {"type": "color-text"})


def _words(words: Mapping[str, tuple[str, str]]) -> ValueMap:
    told = enumerate(words.items())
    return ValueMap(
        options={v: ValueMappingResult(text=text, color=color, index=at) for at, (v, (text, color)) in told}
    )
