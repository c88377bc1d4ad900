"""Calls of chat completions, one of each kind, as keyword arguments of the official SDK's `create`."""

from __future__ import annotations

from typing import Any

from clients.examples import MODELS

__all__ = ["CALLS", "MODES", "WEATHER"]

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "获取指定城市的天气信息",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "城市名称"}},
            "required": ["city"],
        },
    },
}
_ZONE_AND_DAY = {"zone": {"type": "string"}, "day": {"type": "integer"}}
_TIME: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_time",
        "parameters": {"type": "object", "properties": _ZONE_AND_DAY},
    },
}
_PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}, "city": {"type": "string"}},
    "required": ["name", "age", "city"],
    "additionalProperties": False,
}
_PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAP///wAAACH5BAAAAAAALAAAAAABAAEAAAICRAEAOw=="


def _asks(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": text}], **more}


def _shows(url: str, **more: Any) -> dict[str, Any]:
    image = {"type": "image_url", "image_url": {"url": url, **more}}
    parts = [{"type": "text", "text": "请描述这张图片中的内容"}, image]
    messages = [{"role": "user", "content": parts}]
    return {"model": "gemini-2.5-flash-all", "messages": messages, "max_tokens": 500}


def _brings_weather() -> dict[str, Any]:
    function = {"name": "get_weather", "arguments": '{"city": "北京"}'}
    call = {"id": "call_1", "type": "function", "function": function}
    messages = [
        {"role": "user", "content": "今天北京的天气怎么样?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "晴,25度"},
    ]
    return {"model": "gpt-4o", "messages": messages, "tools": [WEATHER]}


CALLS: dict[str, dict[str, Any]] = {
    **{f"model {model}": {**_asks("你好,请介绍一下你自己"), "model": model} for model in MODELS},
    "sampling": _asks("写诗", temperature=0.7, top_p=0.9, presence_penalty=-2.0, frequency_penalty=2.0),
    "max_tokens": _asks("用100字以内总结人工智能的发展历程", max_tokens=15),
    "max_completion_tokens": {**_asks("Hello"), "model": "o3-mini", "max_completion_tokens": 700},
    "stop": _asks("列出前5个最大的城市:", stop=["6.", "。"]),
    "stop text": _asks("Hello", stop="."),
    "n": _asks("Hello", n=3),
    "seed": _asks("Hello", seed=2**40),
    "user": _asks("Hello", user="user-1234"),
    "logit_bias": _asks("Hello", logit_bias={"50256": -100}),
    "logprobs": _asks("你好", logprobs=True, top_logprobs=1),
    "tools": _asks("今天北京的天气怎么样?", tools=[WEATHER], tool_choice="auto"),
    "many tools": _asks("weather and time", tools=[WEATHER, _TIME]),
    "one tool": _asks(
        "time", tools=[WEATHER, _TIME], tool_choice={"type": "function", "function": {"name": "get_time"}}
    ),
    "no tool": _asks("time", tools=[_TIME], tool_choice="none"),
    "tool result": _brings_weather(),
    "image by URL": _shows("https://example.com/image.jpg", detail="high"),
    "image in detail low": _shows("https://example.com/image.jpg", detail="low"),
    "image in the request": _shows(_PIXEL),
    "JSON mode": _asks("提取为JSON格式:张三,男,25岁", response_format={"type": "json_object"}),
    "JSON schema": _asks(
        "张三,男,25岁",
        response_format={"type": "json_schema", "json_schema": {"name": "person", "schema": _PERSON}},
    ),
    "long prompt": _asks("请总结这份文档。" * 800),
    "service tier": _asks("Hello", service_tier="flex"),
    "metadata": _asks("Hello", metadata={"team": "search"}, store=False),
    "reasoning aloud": {**_asks("如果一个数的平方等于64,这个数是多少?"), "model": "deepseek-reasoner"},
    "members of its own": _asks("Hello", extra_body={"enable_thinking": False, "top_k": 40}),
    "headers of its own": _asks("Hello", extra_headers={"X-Title": "an application"}),
    "query of its own": _asks("Hello", extra_query={"trace": "1"}),
}
"""By what is special about them."""

MODES: dict[str, dict[str, Any]] = {
    "whole": {},
    "streamed": {"stream": True},
    "with no usage": {"stream": True, "stream_options": {"include_usage": False}},
    "with usage": {"stream": True, "stream_options": {"include_usage": True}},
}
"""How an answer may be asked for."""
