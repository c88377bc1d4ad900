"""What is known of the companies and servers that may be behind an upstream.

One table: the name that OpenTelemetry gives a provider (or ours, where it gives none), the hosts that give
it away, its id in the price catalogue, and whether it tells usage in streams without being asked. A
provider that is not listed, or a host that could be anyone's, is unknown, and unknown is a fair answer:
nothing is guessed from parts of a name.

Rules: standard library only; no clock, socket, environment or global state.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import NamedTuple

__all__ = ["PROVIDERS", "Provider", "catalogue_id", "guess", "tells_usage"]


class Provider(NamedTuple):
    """One row of the table."""

    name: str
    """Value of `gen_ai.provider.name`."""
    hosts: tuple[str, ...] = ()
    """Last labels of its hosts; `*` stands for any part of one label, and one label for a whole host."""
    catalogue: str | None = None
    """Id in the genai-prices catalogue."""
    tells_usage: bool = False
    """Streams carry usage, or `"usage":null`, unasked: asking gains nothing, cutting would lose something."""


PROVIDERS = (
    Provider("openai", ("api.openai.com",), "openai"),
    Provider(
        "azure.ai.openai",
        (
            "openai.azure.com",
            "cognitiveservices.azure.com",
            "openai.azure.us",
            "cognitiveservices.azure.us",
        ),
        "azure",
    ),
    Provider(
        "azure.ai.inference",
        ("services.ai.azure.com", "models.ai.azure.com", "inference.ai.azure.com"),
        "azure",
    ),
    Provider("anthropic", ("api.anthropic.com",), "anthropic"),
    Provider(
        "aws.bedrock",
        ("bedrock-runtime*.*.amazonaws.com", "bedrock-runtime*.*.api.aws", "bedrock-mantle.*.api.aws"),
        "aws",
    ),
    Provider("gcp.gemini", ("generativelanguage.googleapis.com",), "google"),
    Provider(
        "gcp.vertex_ai",
        ("aiplatform.googleapis.com", "*-aiplatform.googleapis.com", "aiplatform.*.rep.googleapis.com"),
        "google",
    ),
    Provider("cohere", ("api.cohere.com", "api.cohere.ai"), "cohere"),
    # Its reference: with or without include_usage, the last chunk before [DONE] has the usage; streams have
    # been seen with `"usage":null` on every other chunk unasked.
    Provider("deepseek", ("api.deepseek.com",), "deepseek", tells_usage=True),
    # `x_groq.usage` rides on the last chunk of every stream.
    Provider("groq", ("api.groq.com",), "groq", tells_usage=True),
    Provider("ibm.watsonx.ai", ("ml.cloud.ibm.com",)),
    # The last chunk has it; older deployments refuse `stream_options` altogether.
    Provider("mistral_ai", ("api.mistral.ai", "codestral.mistral.ai"), "mistral", tells_usage=True),
    Provider("moonshot_ai", ("api.moonshot.ai", "api.moonshot.cn"), "moonshotai"),
    # Every chunk has a running total.
    Provider("perplexity", ("api.perplexity.ai",), "perplexity", tells_usage=True),
    Provider("x_ai", ("api.x.ai",), "x-ai"),
    # From here on the names are ours: OpenTelemetry has none.
    # Its reference: include_usage "has no effect, full usage details are always included".
    Provider("openrouter", ("openrouter.ai",), "openrouter", tells_usage=True),
    # Its chunks had `"usage":null`, and the last one the usage, before `stream_options` was invented.
    Provider("together", ("api.together.xyz", "api.together.ai"), "together", tells_usage=True),
    Provider("fireworks", ("api.fireworks.ai",), "fireworks"),
    # The last one has a host for each workspace and region.
    Provider("dashscope", ("dashscope.aliyuncs.com", "dashscope-*.aliyuncs.com", "maas.aliyuncs.com")),
    Provider("zhipu", ("open.bigmodel.cn",), "zhipuai"),
    Provider("zai", ("api.z.ai",), "zai"),
    Provider(
        "minimax",
        ("api.minimax.io", "api*.minimaxi.com", "api-*.minimax.io", "api.minimax.chat", "api.minimaxi.chat"),
        "minimax",
    ),
    Provider("cerebras", ("api.cerebras.ai",), "cerebras"),
    Provider("novita", ("api.novita.ai",), "novita"),
    Provider("sambanova", ("api.sambanova.ai",)),
    Provider("siliconflow", ("api.siliconflow.cn", "api.siliconflow.com")),
    Provider("volcengine", ("volces.com",)),
    Provider("nvidia", ("integrate.api.nvidia.com",)),
    Provider("huggingface", ("router.huggingface.co",)),
    Provider(
        "databricks", ("cloud.databricks.com", "azuredatabricks.net", "gcp.databricks.com"), "databricks"
    ),
    Provider("baseten", ("inference.baseten.co",), "baseten"),
    Provider("ovhcloud", ("endpoints.kepler.ai.cloud.ovh.net",), "ovhcloud"),
    Provider("github_copilot", ("api.githubcopilot.com",), "github-copilot"),
    Provider("voyageai", ("api.voyageai.com",), "voyageai"),
    Provider("deepinfra", ("api.deepinfra.com",)),
    Provider("jina_ai", ("api.jina.ai",)),
    # Servers that people run themselves: a service of that name gives them away, or `provider: vllm` says it.
    Provider("ollama", ("ollama.com", "ollama")),
    Provider("vllm", ("vllm",)),
    Provider("llama_cpp"),
    Provider("sglang"),
    Provider("tgi"),
)

# A catalogue id is what people copy from a price list, so it names a provider too; the first row of two wins.
_BY_CATALOGUE = {row.catalogue: row for row in reversed(PROVIDERS) if row.catalogue}
_BY_NAME = _BY_CATALOGUE | {row.name: row for row in PROVIDERS}
_PATTERNS = tuple((tuple(host.split(".")), row.name) for row in PROVIDERS for host in row.hosts)


def guess(host: str) -> str | None:
    """Return the provider whose host this is, or a subdomain of it; `None` where it could be anyone's."""
    labels = host.lower().rstrip(".").split(".")
    for pattern, name in _PATTERNS:
        # A single label is a service beside Meter's: below a domain it could be anyone's.
        tail = labels[-len(pattern) :] if len(pattern) > 1 else labels
        if len(tail) == len(pattern) and all(map(fnmatchcase, tail, pattern)):
            return name
    return None


def catalogue_id(provider: str | None) -> str | None:
    """Return a provider's id in the price catalogue; `None` where either does not know the other."""
    row = _BY_NAME.get(provider) if provider else None
    return row.catalogue if row else None


def tells_usage(provider: str | None) -> bool:
    """Tell whether a provider's streams carry usage unasked; not so where the provider is unknown."""
    row = _BY_NAME.get(provider) if provider else None
    return row is not None and row.tells_usage
