"""Who sells: the names that one provider has here, in the catalogue and in the lists that others publish."""

from __future__ import annotations

from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from meter import providers

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["INCLUSIVE", "MAKERS", "names", "place"]

MAKERS = (
    "openai",
    "anthropic",
    "gcp.gemini",
    "mistral_ai",
    "deepseek",
    "x_ai",
    "cohere",
    "moonshot_ai",
    "perplexity",
    "zai",
    "zhipu",
    "minimax",
    "voyageai",
    "dashscope",
    "jina_ai",
)
"""Providers whose prices for models of their own are list prices."""

INCLUSIVE = frozenset({"x_ai"})
"""Providers whose long prompts begin at the bound and not above it, whatever the lists call it."""

_ELSEWHERE: Mapping[str, str] = MappingProxyType(
    {
        # LiteLLM
        "azure": "azure.ai.openai",
        "azure_text": "azure.ai.openai",
        "azure_ai": "azure.ai.openai",
        "bedrock": "aws.bedrock",
        "bedrock_converse": "aws.bedrock",
        "bedrock_mantle": "aws.bedrock",
        "bigmodel": "zhipu",
        "codestral": "mistral_ai",
        "cohere_chat": "cohere",
        "fireworks_ai": "fireworks",
        "gemini": "gcp.gemini",
        "hosted_vllm": "vllm",
        "mistral": "mistral_ai",
        "moonshot": "moonshot_ai",
        "nvidia_nim": "nvidia",
        "text-completion-codestral": "mistral_ai",
        "text-completion-openai": "openai",
        "together_ai": "together",
        "vertex_ai": "gcp.vertex_ai",
        "voyage": "voyageai",
        "watsonx": "ibm.watsonx.ai",
        "xai": "x_ai",
        # models.dev
        "alibaba": "dashscope",
        "amazon-bedrock": "aws.bedrock",
        "azure-cognitive-services": "azure.ai.openai",
        "fireworks-ai": "fireworks",
        "github-copilot": "github_copilot",
        "google": "gcp.gemini",
        "google-vertex": "gcp.vertex_ai",
        "google-vertex-anthropic": "gcp.vertex_ai",
        "moonshotai": "moonshot_ai",
        "novita-ai": "novita",
        "togetherai": "together",
        "zhipuai": "zhipu",
        # One seller under two names.
        "azure.ai.inference": "azure.ai.openai",
    }
)

_BY_CATALOGUE = {row.catalogue: row.name for row in reversed(providers.PROVIDERS) if row.catalogue}


@cache
def place(provider: str) -> str:
    """Give the one name for a seller that has several; another's own where it has but that."""
    # LiteLLM parts one seller by whose models they are: `vertex_ai-anthropic_models`.
    family = provider.partition("-")[0]
    for name in (provider, family if family in {"vertex_ai", "fireworks_ai"} else ""):
        if found := _ELSEWHERE.get(name):
            return found
    return _BY_CATALOGUE.get(provider, provider)


@cache
def names(provider: str | None) -> frozenset[str | None]:
    """Give all names by which a price file may mean an upstream's provider."""
    if provider is None:
        return frozenset()
    own = _BY_CATALOGUE.get(provider, provider)
    return frozenset({provider, own, providers.catalogue_id(provider)})
