# A guide's command; the base URL and the key come from outside.
curl "$BASE_URL/v1/chat/completions" \
-H "Content-Type: application/json" \
-H "Authorization: Bearer $API_KEY" \
-d '{
"model": "gpt-4o-mini",
"messages": [
{"role": "user", "content": "写一首关于AI的诗"}
],
"stream": true
}'
