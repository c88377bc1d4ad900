// The official SDK: the call that CALL holds as JSON; prints the answer, its chunks or the error, one a line.
import OpenAI from 'openai';

const client = new OpenAI({
  apiKey: process.env.API_KEY,
  baseURL: `${process.env.BASE_URL}/v1`,
  maxRetries: 0
});
const call = JSON.parse(process.env.CALL);

try {
  const answer = await client.chat.completions.create(call);
  if (call.stream) {
    for await (const chunk of answer) {
      console.log(JSON.stringify(chunk));
    }
  } else {
    console.log(JSON.stringify(answer));
  }
} catch (error) {
  console.log(error.constructor.name, error.status, error.code, error.type, error.message);
}
