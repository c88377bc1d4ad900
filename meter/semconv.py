"""Names of OpenTelemetry's semantic conventions, and Meter's own beside them.

They are promised to whoever reads the spans, so they are written out here rather than imported: the library's
own constants for generative AI are marked as moved, and would change under their readers. Sources: the HTTP
conventions (stable), and the conventions for generative AI (in development, without a release).
"""

from __future__ import annotations

# --- generative AI: what was asked for ---
OPERATION_NAME = "gen_ai.operation.name"
PROVIDER_NAME = "gen_ai.provider.name"
CONVERSATION_ID = "gen_ai.conversation.id"
OUTPUT_TYPE = "gen_ai.output.type"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_STREAM = "gen_ai.request.stream"
REQUEST_MAX_TOKENS = "gen_ai.request.max_tokens"
REQUEST_TEMPERATURE = "gen_ai.request.temperature"
REQUEST_TOP_P = "gen_ai.request.top_p"
REQUEST_TOP_K = "gen_ai.request.top_k"
REQUEST_FREQUENCY_PENALTY = "gen_ai.request.frequency_penalty"
REQUEST_PRESENCE_PENALTY = "gen_ai.request.presence_penalty"
REQUEST_SEED = "gen_ai.request.seed"
REQUEST_CHOICE_COUNT = "gen_ai.request.choice.count"
REQUEST_REASONING_LEVEL = "gen_ai.request.reasoning.level"
REQUEST_PREVIOUS_RESPONSE_ID = "gen_ai.request.previous_response.id"
REQUEST_SERVICE_TIER = "openai.request.service_tier"

# --- generative AI: what was answered ---
RESPONSE_ID = "gen_ai.response.id"
RESPONSE_MODEL = "gen_ai.response.model"
RESPONSE_FINISH_REASONS = "gen_ai.response.finish_reasons"
RESPONSE_TIME_TO_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
RESPONSE_SERVICE_TIER = "openai.response.service_tier"
USAGE_INPUT_TOKENS = "gen_ai.usage.input_tokens"
USAGE_OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
USAGE_CACHE_READ = "gen_ai.usage.cache_read.input_tokens"
USAGE_CACHE_CREATION = "gen_ai.usage.cache_creation.input_tokens"
USAGE_CACHE_WRITE = "gen_ai.usage.cache_write.input_tokens"
USAGE_REASONING = "gen_ai.usage.reasoning.output_tokens"
INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_MESSAGES = "gen_ai.output.messages"
TOKEN_TYPE = "gen_ai.token.type"  # noqa: S105 - a kind of count

# --- generative AI: metrics ---
CLIENT_OPERATION_DURATION = "gen_ai.client.operation.duration"
CLIENT_TIME_TO_FIRST_CHUNK = "gen_ai.client.operation.time_to_first_chunk"
CLIENT_TIME_PER_OUTPUT_CHUNK = "gen_ai.client.operation.time_per_output_chunk"
CLIENT_TOKEN_USAGE = "gen_ai.client.token.usage"  # noqa: S105 - a name

# --- HTTP, server, error ---
ERROR_TYPE = "error.type"
HTTP_REQUEST_METHOD = "http.request.method"
HTTP_RESPONSE_STATUS_CODE = "http.response.status_code"
HTTP_REQUEST_BODY_SIZE = "http.request.body.size"
HTTP_RESPONSE_BODY_SIZE = "http.response.body.size"
HTTP_ROUTE = "http.route"
HTTP_RESEND_COUNT = "http.request.resend_count"
URL_PATH = "url.path"
URL_SCHEME = "url.scheme"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"

# --- Meter ---
METER_ID = "meter.id"
METER_KEY = "meter.key"
METER_UPSTREAM = "meter.upstream"
METER_OUTCOME = "meter.outcome"
METER_COST_USD = "meter.cost_usd"
METER_USAGE_SOURCE = "meter.usage_source"
METER_PRICE_STATUS = "meter.price_status"
METER_TAG = "meter.tag."
"""Before a tag's name."""

OPERATIONS = {
    "chat": "chat",
    "responses": "chat",
    "messages": "chat",
    "text_completion": "text_completion",
    "embeddings": "embeddings",
    "generate_content": "generate_content",
}
"""OpenTelemetry's word for an operation, where it has one; the others go by Meter's."""
