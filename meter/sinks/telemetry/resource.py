"""Who tells: the attributes that all spans, metrics and log records of one process share.

What `OTEL_RESOURCE_ATTRIBUTES` says wins over what is found out, and `OTEL_SERVICE_NAME` over both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["attributes"]

_PLACES = {
    "k8s.pod.name": ("POD_NAME", "K8S_POD_NAME"),
    "k8s.namespace.name": ("POD_NAMESPACE", "K8S_NAMESPACE_NAME"),
    "k8s.node.name": ("NODE_NAME", "K8S_NODE_NAME"),
    "k8s.pod.uid": ("POD_UID", "K8S_POD_UID"),
}
"""What a pod's manifest can tell it of itself, by the variables that are usual for it."""


def attributes(
    environ: Mapping[str, str], *, version: str, host: str, process: int, instance: str
) -> dict[str, str | int]:
    """Return them; `instance` is what tells this process from others where no pod does."""
    found = ((name, _first(environ, variables)) for name, variables in _PLACES.items())
    places = {name: value for name, value in found if value}
    told: dict[str, str | int] = {
        "service.name": "meter",
        "service.version": version,
        "service.instance.id": places.get("k8s.pod.name", instance),
        "host.name": host,
        "process.pid": process,
        **places,
        **_pairs(environ.get("OTEL_RESOURCE_ATTRIBUTES", "")),
    }
    if named := environ.get("OTEL_SERVICE_NAME", "").strip():
        told["service.name"] = named
    return told


def _first(environ: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((value for name in names if (value := environ.get(name, "").strip())), "")


def _pairs(text: str) -> dict[str, str]:
    """Read `name=value,name=value`, values percent-encoded; what is no pair says nothing."""
    pairs = (pair.partition("=") for pair in text.split(","))
    return {name.strip(): unquote(value.strip()) for name, sign, value in pairs if sign and name.strip()}
