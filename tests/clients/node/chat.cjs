// A guide's program: one question with axios. The base URL, the key and the model come from outside.
const axios = require('axios');

async function chatCompletion(apiKey, baseUrl, messages, model = 'gpt-4o') {
  const headers = {
    'Authorization': `Bearer ${apiKey}`,
    'Content-Type': 'application/json'
  };
  const data = {
    model: model,
    messages: messages,
    max_tokens: 1000,
    temperature: 0.7
  };
  try {
    const response = await axios.post(
      `${baseUrl}/v1/chat/completions`,
      data,
      { headers }
    );
    return response.data;
  } catch (error) {
    throw new Error(`API Error: ${error.response?.status} - ${JSON.stringify(error.response?.data)}`);
  }
}

const apiKey = process.env.API_KEY;
const baseUrl = process.env.BASE_URL;
const messages = [
  { role: 'user', content: '请解释一下深度学习的原理' }
];

chatCompletion(apiKey, baseUrl, messages, process.env.MODEL)
  .then(result => {
    console.log(result.choices[0].message.content);
  })
  .catch(error => {
    console.log('Error:', error.message);
  });
