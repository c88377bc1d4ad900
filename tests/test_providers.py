"""The table of providers."""

from __future__ import annotations

import pytest
from genai_prices.data import providers as catalogue

from meter.providers import PROVIDERS, catalogue_id, guess, tells_usage


@pytest.mark.parametrize(
    ("host", "provider"),
    [
        ("api.openai.com", "openai"),
        ("API.OpenAI.com.", "openai"),
        ("eu.api.openai.com", "openai"),
        ("my-resource.openai.azure.com", "azure.ai.openai"),
        ("models.inference.ai.azure.com", "azure.ai.inference"),
        ("bedrock-runtime.us-east-1.amazonaws.com", "aws.bedrock"),
        ("bedrock-runtime-fips.us-east-1.amazonaws.com", "aws.bedrock"),
        ("us-central1-aiplatform.googleapis.com", "gcp.vertex_ai"),
        ("generativelanguage.googleapis.com", "gcp.gemini"),
        ("us-south.ml.cloud.ibm.com", "ibm.watsonx.ai"),
        ("api.moonshot.cn", "moonshot_ai"),
        ("openrouter.ai", "openrouter"),
        ("dashscope-intl.aliyuncs.com", "dashscope"),
        ("api.z.ai", "zai"),
        ("api.anthropic.com", "anthropic"),
        ("api.deepseek.com", "deepseek"),
        ("api.groq.com", "groq"),
        ("api.mistral.ai", "mistral_ai"),
        ("api.x.ai", "x_ai"),
        ("us-east-1.api.x.ai", "x_ai"),
        ("api.together.xyz", "together"),
        ("api.together.ai", "together"),
        ("api.fireworks.ai", "fireworks"),
        ("dashscope.aliyuncs.com", "dashscope"),
        ("dashscope-us.aliyuncs.com", "dashscope"),
        ("cn-hongkong.dashscope.aliyuncs.com", "dashscope"),
        ("ws-1.ap-southeast-1.maas.aliyuncs.com", "dashscope"),
        ("open.bigmodel.cn", "zhipu"),
        ("api.moonshot.ai", "moonshot_ai"),
        ("api.minimax.io", "minimax"),
        ("api-uw.minimax.io", "minimax"),
        ("api.minimaxi.com", "minimax"),
        ("api-bj.minimaxi.com", "minimax"),
        ("api.perplexity.ai", "perplexity"),
        ("api.cohere.com", "cohere"),
        ("api.cohere.ai", "cohere"),
        ("aiplatform.eu.rep.googleapis.com", "gcp.vertex_ai"),
        ("my-resource.openai.azure.us", "azure.ai.openai"),
        ("ollama.com", "ollama"),
        ("ollama", "ollama"),
        ("vllm", "vllm"),
        ("ollama.example.org", None),
        ("my.ollama", None),
        ("vllm-2", None),
        ("evil-api.openai.com.example", None),
        ("evilapi.openai.com", None),
        ("notopenrouter.ai", None),
        ("openai.com", None),
        ("s3.us-east-1.amazonaws.com", None),
        ("127.0.0.1", None),
        ("::1", None),
        ("localhost", None),
        ("", None),
    ],
)
def test_guess(host: str, provider: str | None) -> None:
    """A host gives its provider away when it is one of its hosts or below one, label by label."""
    assert provider == guess(host)


def test_catalogue_ids_exist() -> None:
    """Every id in the table is one of the catalogue's."""
    assert {row.catalogue for row in PROVIDERS if row.catalogue} <= {provider.id for provider in catalogue}


def test_names_are_unique() -> None:
    """No provider has two rows."""
    names = [row.name for row in PROVIDERS]

    assert sorted(set(names)) == sorted(names)


@pytest.mark.parametrize(
    ("provider", "identity"),
    [
        ("openai", "openai"),
        ("azure.ai.openai", "azure"),
        ("mistral_ai", "mistral"),
        ("x_ai", "x-ai"),
        ("x-ai", "x-ai"),
        ("google", "google"),
        ("vllm", None),
        ("my-relay", None),
        ("", None),
        (None, None),
    ],
)
def test_catalogue_id(provider: str | None, identity: str | None) -> None:
    """A provider's id is found by its name or by the id itself, and an unknown provider has none."""
    assert identity == catalogue_id(provider)


def test_tells_usage() -> None:
    """Only providers that are known to tell usage unasked are not asked."""
    asked = ("openai", "azure.ai.openai", "vllm", "my-relay", None)
    told = ("openrouter", "mistral_ai", "mistral", "perplexity", "groq", "deepseek", "together")

    assert [False] * len(asked) + [True] * len(told) == [tells_usage(provider) for provider in asked + told]
