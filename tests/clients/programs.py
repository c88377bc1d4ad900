"""Programs that guides give their readers, as readers have them: with `requests` and with `aiohttp`.

They are here to run as they are, not to be improved: nothing but types, the base URL that they are called
with and the waiting (`pause`, which a test replaces) differs from what is printed.
"""

# ruff: noqa: D101, D102, D103, D400  # the guides' own docstrings, or none
from __future__ import annotations

import asyncio
import base64
import json
import random
import time
from functools import wraps
from typing import TYPE_CHECKING, Any

import aiohttp
import requests

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from pathlib import Path

pause = time.sleep


def chat_completion(api_key: str, base_url: str, messages: list[Any], model: str = "gpt-4o") -> Any:
    """基础聊天完成函数"""
    headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}
    data = {"model": model, "messages": messages, "max_tokens": 1000, "temperature": 0.7}
    response = requests.post(  # noqa: S113  # as it is printed
        f"{base_url}/v1/chat/completions", headers=headers, data=json.dumps(data)
    )
    if response.status_code == 200:
        return response.json()
    else:  # noqa: RET505  # as it is printed
        raise Exception(f"API Error: {response.status_code} - {response.text}")  # noqa: TRY002  # as it is printed


def encode_image(image_path: Path) -> str:
    """将图像编码为 base64"""
    with open(image_path, "rb") as image_file:  # noqa: PTH123  # as it is printed
        return base64.b64encode(image_file.read()).decode("utf-8")


def analyze_image(api_key: str, base_url: str, image_path: Path, question: str) -> Any:
    """图像分析函数"""
    headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}
    # 编码图像
    base64_image = encode_image(image_path)
    data = {
        "model": "gemini-2.5-flash-all",
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": question},
                    {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{base64_image}"}},
                ],
            }
        ],
        "max_tokens": 500,
    }
    response = requests.post(  # noqa: S113  # as it is printed
        f"{base_url}/v1/chat/completions", headers=headers, data=json.dumps(data)
    )
    return response.json()


def stream_chat(api_key: str, base_url: str, messages: list[Any], model: str = "gpt-4o") -> None:
    """流式聊天函数"""
    headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}
    data = {
        "model": model,
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    response = requests.post(  # noqa: S113  # as it is printed
        f"{base_url}/v1/chat/completions", headers=headers, data=json.dumps(data), stream=True
    )
    for line in response.iter_lines():
        if line:
            line = line.decode("utf-8")  # noqa: PLW2901  # as it is printed
            if line.startswith("data: "):
                content = line[6:]  # 移除 'data: ' 前缀
                if content.strip() == "[DONE]":
                    break
                try:
                    chunk = json.loads(content)
                    if "choices" in chunk and chunk["choices"]:  # noqa: RUF019  # as it is printed
                        delta = chunk["choices"][0]["delta"]
                        if "content" in delta:
                            print(delta["content"], end="", flush=True)  # noqa: T201  # as it is printed
                except json.JSONDecodeError:
                    continue


def handle_stream_response(response: requests.Response) -> Generator[str, None, str]:
    """处理流式响应"""
    full_content = ""
    for line in response.iter_lines():
        if line:
            line = line.decode("utf-8")  # noqa: PLW2901  # as it is printed
            if line.startswith("data: "):
                content = line[6:]
                if content.strip() == "[DONE]":
                    break
                try:
                    chunk = json.loads(content)
                    if "choices" in chunk and chunk["choices"]:  # noqa: RUF019  # as it is printed
                        delta = chunk["choices"][0]["delta"]
                        if "content" in delta:
                            content_piece = delta["content"]
                            full_content += content_piece
                            yield content_piece
                except json.JSONDecodeError:
                    continue
    return full_content


def customer_service_chat(api_key: str, base_url: str, user_query: str) -> Any:
    messages = [
        {"role": "system", "content": "你是一个专业的客服助手,请友好、准确地回答用户问题。"},
        {"role": "user", "content": user_query},
    ]
    return chat_completion(api_key, base_url, messages)


def content_creation(api_key: str, base_url: str, topic: str, style: str = "专业") -> Any:
    messages = [
        {"role": "system", "content": f"你是一个{style}的内容创作者,请根据用户需求创作高质量内容。"},
        {"role": "user", "content": f"请创作关于'{topic}'的内容"},
    ]
    return chat_completion(api_key, base_url, messages, model="gpt-4o")


def code_assistant(api_key: str, base_url: str, programming_task: str) -> Any:
    messages = [
        {"role": "system", "content": "你是一个专业的编程助手,请提供清晰、可运行的代码解决方案。"},
        {"role": "user", "content": programming_task},
    ]
    return chat_completion(api_key, base_url, messages, model="gpt-4o")


def analyze_document(api_key: str, base_url: str, document_content: str, question: str) -> Any:
    messages = [
        {"role": "system", "content": "你是一个文档分析专家,请基于提供的文档内容回答问题。"},
        {"role": "user", "content": f"文档内容:\n{document_content}\n\n问题:{question}"},
    ]
    return chat_completion(api_key, base_url, messages)


def optimize_token_usage(messages: list[Any], max_tokens: int = 4000) -> list[Any]:
    """优化 Token 使用"""
    # 计算消息长度(粗略估算)  # noqa: ERA001  # Chinese, not code
    total_chars = sum(len(msg["content"]) for msg in messages)
    estimated_tokens = total_chars // 4  # 粗略估算
    if estimated_tokens > max_tokens * 0.8:  # 留出输出空间
        # 截断较长的消息
        for msg in messages:
            if len(msg["content"]) > 1000:
                msg["content"] = msg["content"][:800] + "..."
    return messages


def robust_chat_completion(api_key: str, base_url: str, messages: list[Any], max_retries: int = 3) -> Any:
    """带重试机制的聊天完成"""
    for attempt in range(max_retries):
        try:
            return chat_completion(api_key, base_url, messages)
        except Exception as e:
            if attempt == max_retries - 1:
                raise e  # noqa: TRY201  # as it is printed
            # 指数退避
            wait_time = (2**attempt) + random.uniform(0, 1)  # noqa: S311  # as it is printed
            pause(wait_time)
    return None


def smart_retry(max_retries: int = 3, base_delay: int = 1, max_delay: int = 60) -> Callable[..., Any]:
    def decorator(func: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(func)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            for attempt in range(max_retries):
                try:
                    return func(*args, **kwargs)
                except Exception as e:
                    if attempt == max_retries - 1:
                        raise e  # noqa: TRY201  # as it is printed
                    # 根据错误类型调整策略
                    delay: float
                    if "rate_limit" in str(e).lower():
                        delay = min(
                            base_delay * (2**attempt) + random.uniform(0, 1),  # noqa: S311  # as it is printed
                            max_delay,
                        )
                    elif "timeout" in str(e).lower():
                        delay = base_delay * (attempt + 1)
                    else:
                        delay = base_delay
                    print(  # noqa: T201  # as it is printed
                        f"请求失败,{delay:.1f}秒后重试... (尝试 {attempt + 1}/{max_retries})"
                    )
                    pause(delay)
            return None

        return wrapper

    return decorator


@smart_retry(max_retries=5, base_delay=2)
def resilient_chat_completion(api_key: str, base_url: str, messages: list[Any]) -> Any:
    return chat_completion(api_key, base_url, messages)


def select_model(task_type: str, complexity: str = "medium") -> str:
    """根据任务类型选择最适合的模型"""
    model_map = {
        "text_generation": {"low": "gpt-3.5-turbo", "medium": "gpt-4o-mini", "high": "gpt-4o"},
        "image_analysis": {"low": "gemini-pro-vision", "medium": "gpt-4o", "high": "gemini-2.5-flash-all"},
        "code_generation": {"low": "gpt-3.5-turbo", "medium": "gpt-4o-mini", "high": "gpt-4o"},
        "document_analysis": {"low": "gpt-3.5-turbo", "medium": "claude-3-sonnet", "high": "claude-3-opus"},
    }
    return model_map.get(task_type, {}).get(complexity, "gpt-4o")


class TokenTracker:
    def __init__(self) -> None:
        self.total_prompt_tokens = 0
        self.total_completion_tokens = 0
        self.total_requests = 0

    def track_usage(self, response: Any) -> None:
        usage = response.get("usage", {})
        self.total_prompt_tokens += usage.get("prompt_tokens", 0)
        self.total_completion_tokens += usage.get("completion_tokens", 0)
        self.total_requests += 1

    def get_stats(self) -> dict[str, Any]:
        return {
            "total_requests": self.total_requests,
            "total_prompt_tokens": self.total_prompt_tokens,
            "total_completion_tokens": self.total_completion_tokens,
            "total_tokens": self.total_prompt_tokens + self.total_completion_tokens,
            "avg_tokens_per_request": (self.total_prompt_tokens + self.total_completion_tokens)
            / max(self.total_requests, 1),
        }


def monitor_performance(func: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        start_time = time.time()
        result = func(*args, **kwargs)
        end_time = time.time()
        print(f"API 调用耗时: {end_time - start_time:.2f} 秒")  # noqa: T201  # as it is printed
        return result

    return wrapper


@monitor_performance
def monitored_chat_completion(api_key: str, base_url: str, messages: list[Any]) -> Any:
    return chat_completion(api_key, base_url, messages)


def validate_input(messages: Any) -> bool:
    """验证输入消息"""
    if not isinstance(messages, list):
        raise ValueError("messages 必须是列表")  # noqa: TRY004  # as it is printed
    for msg in messages:
        if not isinstance(msg, dict):
            raise ValueError("每条消息必须是字典")  # noqa: TRY004  # as it is printed
        if "role" not in msg or "content" not in msg:
            raise ValueError("消息必须包含 role 和 content 字段")
        if msg["role"] not in ["system", "user", "assistant", "tool"]:
            raise ValueError("role 必须是有效值")
    return True


class ConversationManager:
    def __init__(self, max_history: int = 10) -> None:
        self.messages: list[Any] = []
        self.max_history = max_history

    def add_message(self, role: str, content: str) -> None:
        self.messages.append({"role": role, "content": content})
        # 保持对话历史在限制范围内
        if len(self.messages) > self.max_history:
            # 保留系统消息,删除最旧的用户/助手消息
            system_msgs = [msg for msg in self.messages if msg["role"] == "system"]
            other_msgs = [msg for msg in self.messages if msg["role"] != "system"]
            self.messages = system_msgs + other_msgs[-(self.max_history - len(system_msgs)) :]

    def get_messages(self) -> list[Any]:
        return self.messages


async def batch_process(api_key: str, base_url: str, requests_list: list[Any]) -> list[Any]:
    """批量处理多个请求"""

    async def single_request(session: aiohttp.ClientSession, request_data: Any) -> Any:
        headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}
        async with session.post(
            f"{base_url}/v1/chat/completions", json=request_data, headers=headers
        ) as response:
            return await response.json()

    async with aiohttp.ClientSession() as session:
        tasks = [single_request(session, req) for req in requests_list]
        results = await asyncio.gather(*tasks)
        return results  # noqa: RET504  # as it is printed
