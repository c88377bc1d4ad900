// A guide's program: a question with a tool, with axios. The base URL and the key come from outside.
const axios = require('axios');

async function functionCalling(apiKey, baseUrl, query) {
  const headers = {
    'Authorization': `Bearer ${apiKey}`,
    'Content-Type': 'application/json'
  };
  const data = {
    model: 'gpt-4o',
    messages: [
      { role: 'user', content: query }
    ],
    tools: [
      {
        type: 'function',
        function: {
          name: 'get_weather',
          description: '获取指定城市的天气信息',
          parameters: {
            type: 'object',
            properties: {
              city: {
                type: 'string',
                description: '城市名称'
              }
            },
            required: ['city']
          }
        }
      }
    ],
    tool_choice: 'auto'
  };
  const response = await axios.post(
    `${baseUrl}/v1/chat/completions`,
    data,
    { headers }
  );
  return response.data;
}

functionCalling(process.env.API_KEY, process.env.BASE_URL, '今天上海的天气如何?')
  .then(result => {
    const message = result.choices[0].message;
    if (message.tool_calls) {
      console.log('工具调用:', JSON.stringify(message.tool_calls));
    } else {
      console.log('回复:', message.content);
    }
  });
