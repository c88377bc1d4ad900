# A guide's command; the base URL and the key come from outside.
curl -X POST "$BASE_URL/v1/chat/completions" \
-H "Content-Type: application/json" \
-H "Authorization: Bearer $API_KEY" \
-d '{
"model": "gpt-4o",
"messages": [
{
"role": "user",
"content": "你好,请介绍一下自然语言处理"
}
],
"max_tokens": 1000,
"temperature": 0.7
}'
