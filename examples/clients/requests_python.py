"""Plain HTTP with requests. The host in the URL is all that changes."""
# ruff: noqa: INP001, T201  # a program to read and to run: it is in no package, and it prints

import os

import requests

answer = requests.post(
    "http://127.0.0.1:8080/v1/chat/completions",
    headers={"Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}"},
    json={"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "Say hello."}]},
    timeout=600,
)
answer.raise_for_status()
print(answer.json()["choices"][0]["message"]["content"])
