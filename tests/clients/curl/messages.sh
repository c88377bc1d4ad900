# A guide's command; the base URL and the key come from outside.
curl "$BASE_URL/v1/messages" \
-H "Content-Type: application/json" \
-H "Authorization: Bearer $API_KEY" \
-H "anthropic-version: 2023-06-01" \
-d '{
"model": "claude-3-5-sonnet-20241022",
"max_tokens": 1000,
"messages": [
{"role": "user", "content": "Hello, Claude!"}
]
}'
