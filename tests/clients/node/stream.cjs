// A stream read with axios, printed as its bytes came.
const axios = require('axios');

const data = {
  model: 'gpt-4o',
  messages: [{ role: 'user', content: '请写一首关于春天的诗' }],
  stream: true
};
const headers = { 'Authorization': `Bearer ${process.env.API_KEY}` };

axios
  .post(`${process.env.BASE_URL}/v1/chat/completions`, data, { headers, responseType: 'stream' })
  .then(response => response.data.pipe(process.stdout));
