"""The variables above each dashboard, each list narrowed by the choices before it.

`tag` holds the name of a label, since which tags are labels is a setting of Meter; `tag_value` is what that
label may be. Everything is chosen at first.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana_foundation_sdk.builders import dashboard as grafana
from grafana_foundation_sdk.models.dashboard import VariableOption, VariableRefresh, VariableSort

from dashboards.source import series
from dashboards.source.panels import DATASOURCE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from grafana_foundation_sdk.cog.builder import Builder
    from grafana_foundation_sdk.models.dashboard import VariableModel

    from dashboards.source.series import Series

__all__ = ["TAG", "by_instance", "by_request"]

TAG = "${tag}"
"""The tag's label, for `by`."""
_DEFAULT_TAG = "team"


def by_request() -> Iterator[Builder[VariableModel]]:
    """Yield the variables of a dashboard about requests."""
    yield _datasource()
    yield _job()
    requests = series.REQUESTS
    yield _list("upstream", "Upstream", requests.narrowed("job"))
    yield _list("model", "Model", requests.narrowed("job", "upstream"))
    yield _list("key", "Key", requests.narrowed("job", "upstream", "model"))
    yield (
        grafana.TextBoxVariable("tag")
        .label("Tag")
        .description("The name of a label from Meter's `attribution.labels`, such as `team`.")
        .default_value(_DEFAULT_TAG)
        .current(VariableOption(text=_DEFAULT_TAG, value=_DEFAULT_TAG, selected=True))
        .options([VariableOption(text=_DEFAULT_TAG, value=_DEFAULT_TAG, selected=True)])
    )
    yield _list("tag_value", "Tag value", requests.narrowed("job", "upstream", "model", "key"), TAG)


def by_instance() -> Iterator[Builder[VariableModel]]:
    """Yield the variables of a dashboard about Meter's processes."""
    yield _datasource()
    yield _job()
    yield _list("instance", "Instance", series.BUILD.narrowed("job"))


def _datasource() -> Builder[VariableModel]:
    return grafana.DatasourceVariable("datasource").label("Data source").type("prometheus")


def _job() -> grafana.QueryVariable:
    # Not `.*`: each process has memory and CPU, and only some are Meter.
    return _list("job", "Job", series.BUILD.narrowed()).all_value("")


def _list(name: str, title: str, among: Series, label: str = "") -> grafana.QueryVariable:
    """Return the values of a label, of which some, or all, may be chosen."""
    query = f"label_values({among}, {label or name})"
    return (
        grafana.QueryVariable(name)
        .label(title)
        .datasource(DATASOURCE)
        .query({"qryType": 1, "query": query, "refId": f"{name}-values"})
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(VariableSort.ALPHABETICAL_ASC)
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(".*")
        .current(VariableOption(text=["All"], value=["$__all"], selected=True))
    )
