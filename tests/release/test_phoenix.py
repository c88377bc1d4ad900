"""Arize Phoenix, which reads OpenTelemetry's conventions for itself, says what it made of Meter's spans.

It is no work of ours, so it shows whether names and shapes are what others look for: models, tokens, prompts,
errors, and what it then thinks that an exchange cost, by its own prices.
"""

from __future__ import annotations

import json
import os
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest
from stage import ask, post, running_house, until
from test_app import free_port
from tools import needed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stage import House

    from meter.demo.upstream import SimulatedUpstream

pytestmark = pytest.mark.release

FOLDER = Path(__file__).parents[2] / ".tools" / "phoenix"
PYTHON = os.environ.get("PHOENIX", f"{FOLDER}/bin/python")
INSTALL = f"python3 -m venv {FOLDER} && {FOLDER}/bin/pip install arize-phoenix"
# Its gRPC port listens everywhere, and no setting says otherwise.
LAUNCH = """
import sys
from grpc.aio import _server
binds = _server.Server.add_insecure_port
_server.Server.add_insecure_port = lambda self, address: binds(self, address.replace("[::]", "127.0.0.1"))
from phoenix.server.main import main
sys.argv = ["phoenix", "serve"]
main()
"""
QUERY = """{projects {edges {node {spans(first: 1000) {edges {node {
    spanId tokenCountPrompt tokenCountCompletion costSummary {total {cost}}}}}}}}}"""
LONG = "The river rises in spring, and the meadows beside it are under water for a week or two. " * 80
CALLS: dict[str, tuple[str, dict[str, Any]]] = {
    "whole": ("/v1/chat/completions", {"model": "gpt-4o-mini", "temperature": 0.5}),
    "streamed": ("/v1/chat/completions", {"model": "gpt-4o", "stream": True}),
    "cached": ("/v1/chat/completions", {"model": "gpt-4o", "messages": [{"role": "user", "content": LONG}]}),
    "embedded": ("/v1/embeddings", {"model": "text-embedding-3-small", "input": "river"}),
    "refused": ("/v1/chat/completions", {"model": "does-not-exist"}),
}


class Phoenix:
    """A Phoenix that runs."""

    def __init__(self, port: int, grpc_port: int) -> None:
        self.endpoints = {
            "http/protobuf": f"http://127.0.0.1:{port}",
            "grpc": f"http://127.0.0.1:{grpc_port}",
        }
        self._url = f"http://127.0.0.1:{port}"

    def asked(self, path: str, body: Any = None) -> Any:
        """Return what its API answers; None while it does not."""
        data = None if body is None else json.dumps(body).encode()
        request = Request(self._url + path, data, {"content-type": "application/json"})  # noqa: S310 - loopback
        try:
            with urlopen(request, timeout=10) as got:  # noqa: S310 - loopback
                return json.loads(got.read())
        except URLError:
            return None

    def spans(self) -> list[dict[str, Any]]:
        """Return all spans."""
        return list((self.asked("/v1/projects/default/spans?limit=1000") or {"data": []})["data"])

    def reckoned(self) -> dict[str, dict[str, Any]]:
        """Return what it made of tokens and cost, by the id of a span."""
        projects = self.asked("/graphql", {"query": QUERY})["data"]["projects"]["edges"]
        nodes = [edge["node"] for project in projects for edge in project["node"]["spans"]["edges"]]
        return {node["spanId"]: node for node in nodes}


@pytest.fixture(scope="module")
def phoenix(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Phoenix]:
    """Give a Phoenix on loopback that knows nothing yet."""
    python, folder = needed(PYTHON, INSTALL), tmp_path_factory.mktemp("phoenix")
    port, grpc_port = free_port(), free_port()
    environ = {
        **os.environ,
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(grpc_port),
        "PHOENIX_WORKING_DIR": str(folder),
        "PHOENIX_TELEMETRY_ENABLED": "false",
    }
    log = (folder / "log").open("wb")
    with log, subprocess.Popen([python, "-c", LAUNCH], env=environ, stdout=log, stderr=log) as running:  # noqa: S603 - our own
        try:
            phoenix = Phoenix(port, grpc_port)
            until(lambda: running.poll() is not None or phoenix.asked("/v1/projects"), seconds=90)
            assert running.poll() is None, (folder / "log").read_text()
            yield phoenix
        finally:
            running.terminate()


class Read:
    """What Phoenix read of one exchange, and what Meter's log says of it."""

    def __init__(self, phoenix: Phoenix, line: dict[str, Any]) -> None:
        pair = until(lambda: self._pair(phoenix, line["id"]), seconds=30)
        self.serving, self.asking = sorted(
            pair, key=lambda span: "gen_ai.operation.name" in span["attributes"]
        )
        self.attributes: dict[str, Any] = self.asking["attributes"]
        self.reckoned = phoenix.reckoned()[self.asking["context"]["span_id"]]
        self.line = line

    @staticmethod
    def _pair(phoenix: Phoenix, name: str) -> list[dict[str, Any]] | None:
        found = [span for span in phoenix.spans() if span["attributes"].get("meter.id") == name]
        return found if len(found) == 2 else None


@contextmanager
def house_before(upstream_url: str, phoenix: Phoenix, protocol: str) -> Iterator[House]:
    """Run Meter with spans going to Phoenix."""
    upstream = {"name": "up", "base_url": f"{upstream_url}/v1", "provider": "openai"}
    tracing = {"endpoint": phoenix.endpoints[protocol], "protocol": protocol, "content": True}
    with running_house(upstream_url, upstreams=[upstream], tracing=tracing) as house:
        yield house


@pytest.fixture(scope="module", params=["http/protobuf", "grpc"])
def read(
    request: pytest.FixtureRequest, phoenix: Phoenix, simulated: tuple[SimulatedUpstream, str]
) -> Iterator[dict[str, Read]]:
    """Give what Phoenix read of each call, by either protocol."""
    with house_before(simulated[1], phoenix, request.param) as house:
        yield {name: Read(phoenix, called(house, *call)) for name, call in CALLS.items()}


def called(house: House, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Call Meter; return the line of its log."""
    told = {"messages": [{"role": "user", "content": "Which way is the river?"}]} if "chat" in path else {}
    head, _ = ask(
        house.url, post(path, json.dumps({**told, **body}).encode(), "Authorization: Bearer sk-user")
    )
    fields = head.decode("latin-1").lower().split("\r\n")
    (name,) = (field.partition(": ")[2] for field in fields if field.startswith("x-meter-id: "))
    return house.line(name)


@pytest.mark.parametrize("name", CALLS)
def test_tree(read: dict[str, Read], name: str) -> None:
    """What asks is below what serves, in the trace that the log names."""
    got = read[name]

    assert got.asking["parent_id"] == got.serving["context"]["span_id"]
    assert {got.line["trace_id"]} == {span["context"]["trace_id"] for span in (got.asking, got.serving)}


@pytest.mark.parametrize(
    ("name", "kind"),
    [("whole", "LLM"), ("streamed", "LLM"), ("cached", "LLM"), ("refused", "LLM"), ("embedded", "EMBEDDING")],
)
def test_kind(read: dict[str, Read], name: str, kind: str) -> None:
    """Exchanges are taken for what they are; what serves them is not taken for another call of a model."""
    assert (kind, "UNKNOWN") == (read[name].asking["span_kind"], read[name].serving["span_kind"])


@pytest.mark.parametrize("name", ["whole", "streamed", "cached"])
def test_model_and_tokens(read: dict[str, Read], name: str) -> None:
    """Model, provider and tokens are found, cached ones among those of the prompt."""
    got = read[name]
    usage = got.line["usage"]
    prompt = usage["input"] + usage.get("input_cached", 0)
    output = usage["output"]

    assert ("openai", got.line["request_model"]) == (
        got.attributes["llm.provider"],
        got.attributes["llm.model_name"],
    )
    assert (prompt, output) == (
        got.attributes["llm.token_count.prompt"],
        got.attributes["llm.token_count.completion"],
    )
    assert (prompt, output) == (got.reckoned["tokenCountPrompt"], got.reckoned["tokenCountCompletion"])
    assert usage.get("input_cached", 0) == got.attributes.get("llm.token_count.prompt_details.cache_read", 0)


def test_some_is_cached(read: dict[str, Read]) -> None:
    """The upstream did read a part of the long prompt from a cache."""
    assert read["cached"].line["usage"]["input_cached"] > 0


@pytest.mark.parametrize("name", ["whole", "streamed", "cached"])
def test_cost(read: dict[str, Read], name: str) -> None:
    """By prices of its own, Phoenix comes to the cost that Meter told it, and told its log."""
    got = read[name]

    assert got.line["cost_usd"] == pytest.approx(got.attributes["meter.cost_usd"])
    assert got.line["cost_usd"] == pytest.approx(got.reckoned["costSummary"]["total"]["cost"])


def test_parameters_and_prompts(read: dict[str, Read]) -> None:
    """What was asked for, the prompt and the answer stand where Phoenix shows them."""
    told = read["whole"].attributes

    assert {"temperature": 0.5} == json.loads(told["llm.invocation_parameters"])
    assert "user" == told["llm.input_messages.0.message.role"]
    assert "assistant" == told["llm.output_messages.0.message.role"]
    assert "Which way is the river?" in json.dumps(
        {name: value for name, value in told.items() if name.startswith("llm.input_messages.0.")}
    )


def test_error(read: dict[str, Read]) -> None:
    """A model that the upstream does not know is an error of what asks alone."""
    got = read["refused"]

    assert ("ERROR", "UNSET") == (got.asking["status_code"], got.serving["status_code"])
    assert got.line["error_type"] == got.attributes["error.type"]
