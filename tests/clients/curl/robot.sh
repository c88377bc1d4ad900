# A guide's command; the base URL and the key come from outside.
curl -X POST "$BASE_URL/v1/chat/completions" \
-H "Content-Type: application/json" \
-H "Authorization: Bearer $API_KEY" \
-d '{
"model": "gpt-4o",
"messages": [
{
"role": "user",
"content": "请写一个关于机器人的故事"
}
],
"stream": true,
"max_tokens": 500
}'
