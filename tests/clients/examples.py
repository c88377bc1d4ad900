"""What users of aggregators send and get, as their guides print it: bodies byte for byte.

Each request is the text between the quotes of a `-d '...'`, blanks and line feeds included; each answer is
what came back for one. Only the hosts they once went to are not here.
"""

from __future__ import annotations

__all__ = ["ANSWERS", "ERRORS", "MESSAGES_REQUEST", "MODELS", "REQUESTS", "STREAMS"]

MODELS = (
    "gpt-4o-mini",
    "gpt-4o",
    "gpt-4o-2024-05-13",
    "gpt-3.5-turbo",
    "o1-preview",
    "claude-3-5-sonnet-20241022",
    "claude-3-5-haiku-20241022",
    "claude-3-sonnet",
    "claude-3-opus",
    "gemini-2.5-flash-all",
    "gemini-pro-vision",
    "deepseek-chat",
    "deepseek-coder",
    "deepseek-reasoner",
    "qwen-turbo",
    "Qwen/Qwen2.5-72B-Instruct",
    "glm-4",
    "ernie-4.0-8k",
)
"""Models of every vendor that the guides name."""

REQUESTS = {
    "platform": """{
"model": "gpt-4o-mini",
"messages": [
{
"role": "system",
"content": "你是一个专业的AI助手,请用中文回答问题。"
},
{
"role": "user",
"content": "请介绍一下API易平台的特色功能"
}
],
"temperature": 0.7,
"max_tokens": 500
}""",
    "poem": """{
"model": "gpt-4o-mini",
"messages": [
{"role": "user", "content": "写一首关于AI的诗"}
],
"stream": true
}""",
    "vision in detail": """{
"model": "gpt-4o",
"messages": [
{
"role": "user",
"content": [
{
"type": "text",
"text": "描述这张图片的内容"
},
{
"type": "image_url",
"image_url": {
"url": "https://example.com/image.jpg",
"detail": "high"
}
}
]
}
]
}""",
    "what is in this picture": """{
"model": "gpt-4o",
"messages": [
{
"role": "user",
"content": [
{
"type": "text",
"text": "这张图片里有什么?"
},
{
"type": "image_url",
"image_url": {
"url": "https://example.com/image.jpg"
}
}
]
}
]
}""",
    "introduce yourself": """{
"model": "gpt-4o-mini",
"messages": [
{
"role": "user",
"content": "你好,请介绍一下你自己"
}
]
}""",
    "o1 series": """{
"model": "o1-preview",
"messages": [
{
"role": "user",
"content": "解决这个数学问题:如果一个数的平方等于64,这个数是多少?"
}
]
}""",
    "technical writer": """{
"model": "gpt-4o-mini",
"messages": [
{
"role": "system",
"content": "你是一个专业的技术文档写作助手。请用清晰、准确的语言回答问题,如果涉及代码,请提供完整的示例。"
},
{
"role": "user",
"content": "请解释什么是RESTful API,并给出一个Python示例"
}
],
"temperature": 0.3
}""",
    "limited length": """{
"model": "gpt-4o-mini",
"messages": [
{
"role": "user",
"content": "用100字以内总结人工智能的发展历程"
}
],
"max_tokens": 150
}""",
    "stop words": """{
"model": "gpt-4o-mini",
"messages": [
{
"role": "user",
"content": "列出前5个最大的城市:"
}
],
"stop": ["6."]
}""",
    "history": """{
"model": "gpt-4o",
"messages": [
{
"role": "user",
"content": "你好,请介绍一下人工智能的发展历史"
}
],
"max_tokens": 1000,
"temperature": 0.7
}""",
    "elided image": """{
"model": "gemini-2.5-flash-all",
"messages": [
{
"role": "user",
"content": [
{
"type": "text",
"text": "请描述这张图片中的内容"
},
{
"type": "image_url",
"image_url": {
"url": "..."
}
}
]
}
],
"max_tokens": 500
}""",
    "spring": """{
"model": "gpt-4o",
"messages": [
{
"role": "user",
"content": "请写一首关于春天的诗"
}
],
"stream": true,
"stream_options": {
"include_usage": true
}
}""",
    "weather": """{
"model": "gpt-4o",
"messages": [
{
"role": "user",
"content": "今天北京的天气怎么样?"
}
],
"tools": [
{
"type": "function",
"function": {
"name": "get_weather",
"description": "获取指定城市的天气信息",
"parameters": {
"type": "object",
"properties": {
"city": {
"type": "string",
"description": "城市名称"
}
},
"required": ["city"]
}
}
}
],
"tool_choice": "auto"
}""",
    "extraction": """{
"model": "gpt-4o",
"messages": [
{
"role": "system",
"content": "你是一个数据提取助手,请将用户输入的信息提取为JSON格式"
},
{
"role": "user",
"content": "张三,男,25岁,软件工程师,住在北京市朝阳区"
}
],
"response_format": {
"type": "json_object"
}
}""",
    "language processing": """{
"model": "gpt-4o",
"messages": [
{
"role": "user",
"content": "你好,请介绍一下自然语言处理"
}
],
"max_tokens": 1000,
"temperature": 0.7
}""",
    "robot": """{
"model": "gpt-4o",
"messages": [
{
"role": "user",
"content": "请写一个关于机器人的故事"
}
],
"stream": true,
"max_tokens": 500
}""",
    "tutor": """{
"model": "gpt-4o",
"messages": [
{
"role": "system",
"content": "你是一个专业的Python编程导师。请遵循以下原则:\\n\
1. 提供清晰、可执行的代码示例\\n\
2. 解释代码的工作原理\\n\
3. 指出潜在的问题和改进建议\\n\
4. 使用简洁明了的语言"
},
{
"role": "user",
"content": "什么是装饰器?",
"name": "student"
}
],
"temperature": 0.2,
"top_p": 1.0,
"presence_penalty": -2.0,
"frequency_penalty": 2.0
}""",
    "roles": """{
"model": "gpt-4o",
"messages": [
{"role": "user", "content": "今天北京的天气怎么样?"},
{"role": "assistant", "content": null, "tool_calls": [{"id": "call_1", "type": "function", \
"function": {"name": "get_weather", "arguments": "{\\"city\\": \\"北京\\"}"}}]},
{"role": "tool", "tool_call_id": "call_1", "content": "晴,25度"},
{"role": "function", "name": "get_weather", "content": "晴"}
]
}""",
}
"""Bodies of `POST /v1/chat/completions` by what they are about."""

MESSAGES_REQUEST = """{
"model": "claude-3-5-sonnet-20241022",
"max_tokens": 1000,
"messages": [
{"role": "user", "content": "Hello, Claude!"}
]
}"""
"""Body of `POST /v1/messages`."""

ANSWERS = {
    "short": (
        """{
"id": "chatcmpl-abc123",
"object": "chat.completion",
"created": 1702855400,
"model": "gpt-4o-mini",
"choices": [
{
"index": 0,
"message": {
"role": "assistant",
"content": "API易是一个企业级专业稳定的AI大模型API中转站..."
},
"finish_reason": "stop"
}
],
"usage": {
"prompt_tokens": 25,
"completion_tokens": 150,
"total_tokens": 175
}
}""",
        {"input": 25, "output": 150},
    ),
    "with details": (
        """{
"id": "chatcmpl-8XYZ123",
"object": "chat.completion",
"created": 1699000000,
"model": "gpt-4o-2024-05-13",
"choices": [
{
"index": 0,
"message": {
"role": "assistant",
"content": "这是 AI 的回复内容"
},
"logprobs": null,
"finish_reason": "stop"
}
],
"usage": {
"prompt_tokens": 15,
"completion_tokens": 25,
"total_tokens": 40,
"completion_tokens_details": {
"reasoning_tokens": 0
}
},
"system_fingerprint": "fp_abc123"
}""",
        {"input": 15, "output": 25, "output_reasoning": 0},
    ),
}
"""Answers, each with the tokens by kind that it tells of."""

STREAMS = {
    "without a finish": """\
data: {"id":"chatcmpl-abc123","object":"chat.completion.chunk","created":1702855400,"model":"gpt-4o-mini",\
"choices":[{"index":0,"delta":{"role":"assistant","content":"在"},"finish_reason":null}]}

data: {"id":"chatcmpl-abc123","object":"chat.completion.chunk","created":1702855400,"model":"gpt-4o-mini",\
"choices":[{"index":0,"delta":{"content":"数字"},"finish_reason":null}]}

data: [DONE]

""",
    "with a finish": """\
data: {"id":"chatcmpl-8XYZ123","object":"chat.completion.chunk","created":1699000000,"model":"gpt-4o",\
"choices":[{"index":0,"delta":{"role":"assistant","content":"你好"},"logprobs":null,"finish_reason":null}]}

data: {"id":"chatcmpl-8XYZ123","object":"chat.completion.chunk","created":1699000000,"model":"gpt-4o",\
"choices":[{"index":0,"delta":{"content":"!"},"logprobs":null,"finish_reason":null}]}

data: {"id":"chatcmpl-8XYZ123","object":"chat.completion.chunk","created":1699000000,"model":"gpt-4o",\
"choices":[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}

data: [DONE]

""",
}
"""Streams of an upstream that tells no usage."""

ERRORS = {
    "unknown model": (
        404,
        """{
"error": {
"message": "The model 'gpt-4o-invalid' does not exist",
"type": "invalid_request_error",
"param": "model",
"code": "model_not_found"
}
}""",
        "model_not_found",
    ),
    "authentication": (
        401,
        """{
"error": {
"message": "Invalid API key provided",
"type": "invalid_request_error",
"code": "invalid_api_key"
}
}""",
        "invalid_api_key",
    ),
    "too large": (
        413,
        """{
"error": {
"message": "Request too large",
"type": "invalid_request_error",
"code": "request_too_large"
}
}""",
        "request_too_large",
    ),
    "rate limit": (
        429,
        """{
"error": {
"message": "Rate limit exceeded",
"type": "rate_limit_error",
"code": "rate_limit_exceeded"
}
}""",
        "rate_limit_exceeded",
    ),
    "model not available": (
        404,
        """{
"error": {
"message": "Model not found",
"type": "invalid_request_error",
"code": "model_not_found"
}
}""",
        "model_not_found",
    ),
}
"""Errors: the status, the body and the name that the metrics give it."""
