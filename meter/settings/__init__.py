"""One frozen `Settings`, read once: command line over environment over YAML file over defaults.

Each source becomes a layer, the layers are merged, and all that is wrong with the result comes out at once,
as lines that name the source, the setting, what came and what was expected. A value that may be a secret is
never repeated.

    tree          settings as they come, and the places in them
    layers, file  what each source says, and where
    types         what a value may be: `quantities` are durations and sizes
    model         the settings, named as in the file
    checks        what does not fit together, and what this version cannot do
    words         the sentences
    report        a line for each problem

pydantic's own settings sources are not used: they stop at the first variable that they cannot decode, and
forget where a value came from.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from meter.settings.checks import misfits
from meter.settings.file import file_layer
from meter.settings.layers import Layer, command_line_layer, environment_layer, origin
from meter.settings.model import Admin, Budget, Key, Settings, Timeouts, UpstreamSettings, members
from meter.settings.report import Problem, SettingsError, lines
from meter.settings.tree import dotted, merged
from meter.settings.words import sentence

if TYPE_CHECKING:
    from collections.abc import Mapping

    from meter.settings.tree import Place

__all__ = ["Admin", "Budget", "Key", "Settings", "SettingsError", "Timeouts", "UpstreamSettings", "load"]


def load(
    config: str | None,
    overrides: Mapping[str, Any],
    environ: Mapping[str, str] | None = None,
    *,
    serves: bool = True,
) -> Settings:
    """Read the settings from a file's name, the command line and the environment (`os.environ`).

    `overrides` are the options that were given, by dotted name (`port`, `ledger.url`), and `upstream`, a
    URL, which adds an upstream named `default`. Only what `serves` needs an upstream. Raises `SettingsError`
    with all that is wrong.
    """
    file = file_layer(config) if config else Layer()
    environment = environment_layer(os.environ if environ is None else environ)
    below = merged(environment.values, file.values)
    command_line = command_line_layer(overrides, below)
    values = merged(command_line.values, below)
    if not serves:
        values.setdefault("upstreams", ())
    layers = (command_line, environment, file)
    settings = None
    problems: dict[Place, Problem] = {}
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            place = tuple(part for part in details["loc"] if part != "[key]")
            # What is missing stands nowhere: the thing that should have it does.
            where = place[:-1] if details["type"] == "missing" else place
            problems.setdefault(place, Problem(origin(where, layers), sentence(place, details, members)))
    for place, text in misfits(values):
        problems.setdefault(place, Problem(origin(place, layers), f"{dotted(place)}: {text}"))
    if settings is None or problems:
        raise SettingsError(lines(problems.values()))
    return settings
