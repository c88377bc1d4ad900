"""The names of sellers."""

from __future__ import annotations

import pytest

from meter.prices.places import MAKERS, names, place
from meter.providers import PROVIDERS

OURS = {row.name for row in PROVIDERS}


@pytest.mark.parametrize(
    ("name", "seller"),
    [
        ("openai", "openai"),
        ("azure_ai", "azure.ai.openai"),
        ("azure.ai.inference", "azure.ai.openai"),
        ("bedrock_converse", "aws.bedrock"),
        ("aws", "aws.bedrock"),
        ("vertex_ai-anthropic_models", "gcp.vertex_ai"),
        ("fireworks_ai-embedding-models", "fireworks"),
        ("google", "gcp.gemini"),
        ("x-ai", "x_ai"),
        ("text-completion-openai", "openai"),
        ("elevenlabs", "elevenlabs"),
    ],
)
def test_one_name_for_each_seller(name: str, seller: str) -> None:
    """A seller has one name, whatever a list calls it, and one that nobody knows keeps its own."""
    assert seller == place(name)


def test_our_names_stay() -> None:
    """Our name of a provider is its place, but for Azure's second, and every maker is a provider."""
    assert {row.name for row in PROVIDERS if place(row.name) != row.name} == {"azure.ai.inference"}
    assert set(MAKERS) <= OURS


def test_a_price_file_may_use_any_of_its_names() -> None:
    """A provider goes by our name, by the catalogue's and by the one that it was given."""
    assert {"aws.bedrock", "aws"} == names("aws.bedrock") == names("aws")
    assert {"my-provider", None} == names("my-provider")
    assert frozenset() == names(None)
