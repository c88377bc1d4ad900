# A guide's command; the base URL and the key come from outside.
curl "$BASE_URL/v1/chat/completions" \
-H "Content-Type: application/json" \
-H "Authorization: Bearer $API_KEY" \
-d '{
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
}'
