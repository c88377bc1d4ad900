"""Every method of the official SDKs, found by looking, called with made-up arguments.

What is not named in the tables of operations is here all the same: what the upstream is sent and what the
program is given are what they are without Meter, though Meter knows nothing of most of these.
"""

from __future__ import annotations

import inspect
import re
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import pytest
from anthropic import Anthropic
from clients.everything import Everything, standing
from clients.sameness import same_fields, sent
from openai import OpenAI

if TYPE_CHECKING:
    from collections.abc import Iterator

    from clients.lines import Lines
    from stage import House

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning"
)  # what is deprecated can be called as well

OPTIONS: dict[str, dict[str, Any]] = {
    "openai": {
        "api_key": "sk-user",
        "admin_api_key": "sk-admin",
        "webhook_secret": "whsec",
        "max_retries": 0,
    },
    "anthropic": {"api_key": "sk-ant-user", "max_retries": 0},
}
SDKS: dict[str, Any] = {"openai": OpenAI, "anthropic": Anthropic}
UPLOAD = ("a.txt", b"\x00\xff otters \r\n" * 100, "text/plain")
VERSION = {"openai": "/v1", "anthropic": ""}
"""What ends a base URL."""

NO_REQUESTS = ("connect", "poll", "stream", "unwrap", "verify_signature", "wait_for_processing", "parse")
"""How names end of methods that talk otherwise, wait for a change that never comes, or send nothing."""


def found(sdk: str) -> list[str]:
    """Return the dotted names of the methods that send requests."""
    with SDKS[sdk](**OPTIONS[sdk]) as client:
        return sorted(_methods(client, ""))


def _methods(resource: Any, prefix: str) -> Iterator[str]:
    for name, member in inspect.getmembers_static(type(resource)):
        if name.startswith(("_", "with_")):
            continue
        if hasattr(member, "func") or isinstance(member, property):
            below = getattr(resource, name, None)
            if type(below).__module__.partition(".")[2].startswith("resources."):
                yield from _methods(below, f"{prefix}{name}.")
        elif (
            prefix
            and not name.endswith(NO_REQUESTS)
            and hasattr(getattr(resource, "with_raw_response", None), name)
        ):
            yield f"{prefix}{name}"


METHODS = [(sdk, name) for sdk in SDKS for name in found(sdk)]


def called(method: Any) -> Any:
    """Call a method with an argument of about the right type for each parameter that it wants."""
    told = inspect.signature(method).parameters
    wanted = [name for name, each in told.items() if each.default is inspect.Parameter.empty]
    given = {name: _argument(told[name]) for name in wanted}
    try:
        return method(**given)
    except TypeError as error:  # it has several signatures, and names them: the first will do
        either = re.search(r"Expected either \(([^)]*)\)", str(error))
        if either is None:
            raise
        return method(**given | {name: _argument(told[name]) for name in re.findall(r"'(\w+)'", either[1])})


def _argument(parameter: inspect.Parameter) -> Any:
    kind = str(parameter.annotation)
    if "FileTypes" in kind or kind.endswith("_params.Video"):
        return [UPLOAD] if "Sequence" in kind or "List" in kind else UPLOAD
    if kind.startswith(("int", "float", "Union[int")):
        return 4
    if kind.startswith("bool"):
        return True
    if kind.startswith(("Iterable", "List", "SequenceNotStr", "Sequence")):
        return []
    return f"{parameter.name}-1"


@pytest.fixture(scope="module")
def stage() -> Iterator[tuple[Everything, House]]:
    """Give the upstream that answers everything, and Meter in front of it."""
    with standing() as stage:
        yield stage


@pytest.fixture(scope="module")
def house(stage: tuple[Everything, House]) -> House:
    """Give Meter in front of the upstream."""
    return stage[1]


@pytest.fixture(scope="module")
def clients(house: House) -> Iterator[dict[str, tuple[Any, Any]]]:
    """Give, by SDK, a client of the upstream itself, and one of Meter."""
    made = {
        sdk: (
            of(base_url=f"{house.upstream_url}{VERSION[sdk]}", **OPTIONS[sdk]),
            of(base_url=f"{house.url}/{sdk}{VERSION[sdk]}", **OPTIONS[sdk]),
        )
        for sdk, of in SDKS.items()
    }
    yield made
    for pair in made.values():
        for client in pair:
            client.close()


@pytest.mark.parametrize(("sdk", "name"), METHODS)
def test_method(
    clients: dict[str, tuple[Any, Any]], stage: tuple[Everything, House], lines: Lines, sdk: str, name: str
) -> None:
    """A method sends the same requests and gives the same answer, and each of them is one log line."""
    everything = stage[0]
    everything.asked.clear()
    head, _, last = name.rpartition(".")

    def came(client: Any) -> tuple[Any, bytes, int]:
        method = getattr(attrgetter(f"{head}.with_raw_response")(client), last)
        answer = called(method).http_response
        return answer.headers, answer.read(), len(everything.asked)

    (expected_fields, expected, count), (fields, got, total) = map(came, clients[sdk])

    assert count >= 1
    assert expected == got
    same_fields(expected_fields, fields)
    asks = list(everything.asked)
    assert sent(asks[:count]) == sent(asks[count:])
    assert [("ok", 200, sdk)] * (total - count) == [
        (line["outcome"], line["status"], line["upstream"]) for line in lines.take(count)
    ]


def test_there_are_many() -> None:
    """Looking for methods finds them."""
    assert 700 < len(METHODS)
