#!/bin/sh
# Plain HTTP with curl, streaming. The host in the URL is all that changes.
curl -sS --no-buffer http://127.0.0.1:8080/v1/chat/completions \
  -H "Authorization: Bearer $OPENAI_API_KEY" \
  -H "Content-Type: application/json" \
  -d '{"model": "gpt-4o-mini", "stream": true, "messages": [{"role": "user", "content": "Say hello."}]}'
