// Plain HTTP with axios. The base URL is all that changes.
import axios from "axios";

const api = axios.create({
  baseURL: "http://127.0.0.1:8080/v1",
  headers: { Authorization: `Bearer ${process.env.OPENAI_API_KEY}` },
});

const answer = await api.post("/chat/completions", {
  model: "gpt-4o-mini",
  messages: [{ role: "user", content: "Say hello." }],
});
console.log(answer.data.choices[0].message.content);
