"""The official SDK, streaming. The base URL is all that changes; without it, set OPENAI_BASE_URL."""
# ruff: noqa: INP001, T201  # a program to read and to run: it is in no package, and it prints

from openai import OpenAI

client = OpenAI(base_url="http://127.0.0.1:8080/v1")  # the key comes from OPENAI_API_KEY, as ever

stream = client.chat.completions.create(
    model="gpt-4o-mini",
    messages=[{"role": "user", "content": "Say hello."}],
    stream=True,
)
for chunk in stream:
    print(chunk.choices[0].delta.content or "", end="", flush=True)
print()
