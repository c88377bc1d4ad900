// Says what came of a request: status, bytes of the body, and whether it broke off.
const http = require('http');

const { BASE_URL, BODY } = process.env;
const headers = { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(BODY) };
let answered = false;
const request = http.request(`${BASE_URL}/v1/chat/completions`, { method: 'POST', headers }, answer => {
  answered = true;
  let size = 0;
  let broken = false;
  answer.on('data', piece => { size += piece.length; });
  answer.on('error', () => { broken = true; });
  answer.on('close', () => console.log(answer.statusCode, size, broken || !answer.complete));
});
request.on('error', () => answered || console.log('no answer'));
request.end(BODY);
