// openai for Node. Its Realtime clients speak only wss, so a proxy with a certificate of its own stands before the server.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import net from "node:net";
import { tmpdir } from "node:os";
import tls from "node:tls";
import OpenAI from "openai";
import { OpenAIRealtimeWS } from "openai/realtime/ws";
import {
  GREETING,
  KEY,
  SPOKEN,
  URL as SERVER,
  assert,
  audible,
  checked,
  finish,
  quiet,
  recorded,
  recording,
  same,
  say,
  understood,
} from "./checks.mjs";

const folder = mkdtempSync(`${tmpdir()}/tls-`);
const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
const files = ["-keyout", `${folder}/key`, "-out", `${folder}/certificate`];
execFileSync("openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", ...subject, ...files], {
  stdio: "ignore",
});
const [key, cert] = [readFileSync(`${folder}/key`), readFileSync(`${folder}/certificate`)];
rmSync(folder, { recursive: true });

const { hostname, port } = new URL(SERVER);
const proxy = tls.createServer({ key, cert }, (client) => {
  const server = net.connect(Number(port), hostname);
  client.pipe(server).pipe(client);
  for (const side of [client, server]) side.on("error", () => [client, server].forEach((one) => one.destroy()));
});
await new Promise((resolve) => proxy.listen(0, "localhost", resolve));

const client = new OpenAI({ apiKey: KEY, baseURL: `${SERVER}/v1` });
const secure = new OpenAI({ apiKey: KEY, baseURL: `https://localhost:${proxy.address().port}/v1` });

await checked("transcription, and streamed", async () => {
  const file = await OpenAI.toFile(recording("weather"), "weather.wav");
  const heard = await client.audio.transcriptions.create({ model: "gpt-4o-transcribe", file });
  same(heard.text, SPOKEN.weather);
  const again = await OpenAI.toFile(recording("weather"), "weather.wav");
  const stream = await client.audio.transcriptions.create({ model: "gpt-4o-transcribe", file: again, stream: true });
  let deltas = "";
  for await (const event of stream) {
    if (event.type === "transcript.text.delta") deltas += event.delta;
  }
  same(deltas, SPOKEN.weather);
});
await checked("speech", async () => {
  const answer = await client.audio.speech.create({ model: "tts-1", voice: "alloy", input: GREETING });
  assert(answer.headers.get("content-type") === "audio/mpeg", answer.headers.get("content-type"));
  await understood(await answer.arrayBuffer(), GREETING);
});
await checked("Realtime: speech in, speech out", async () => {
  const connection = new OpenAIRealtimeWS({ model: "gpt-realtime", options: { ca: cert } }, secure);
  const audio = [];
  const heard = {};
  const done = new Promise((resolve, reject) => {
    connection.on("error", reject);
    connection.on("session.created", () => {
      const input = { transcription: { model: "whisper-1" }, turn_detection: { type: "server_vad" } };
      connection.send({ type: "session.update", session: { type: "realtime", audio: { input } } });
    });
    connection.on("session.updated", () => {
      const append = (pcm) => connection.send({ type: "input_audio_buffer.append", audio: pcm.toString("base64") });
      say(append, quiet(0.5), recorded("hello"), quiet(1.2)).catch(reject);
    });
    connection.on("conversation.item.input_audio_transcription.completed", (event) => (heard.user = event.transcript));
    connection.on("response.output_audio.delta", (event) => audio.push(Buffer.from(event.delta, "base64")));
    connection.on("response.output_audio_transcript.done", (event) => (heard.answer = event.transcript));
    connection.on("response.done", resolve);
  });
  await done;
  connection.close();
  same(heard.user, SPOKEN.hello);
  same(heard.answer, GREETING);
  audible(Buffer.concat(audio), GREETING);
});
proxy.close();
finish();
