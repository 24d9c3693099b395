// What users of speaches-ai/speaches copied from its guide to the Realtime API, in JavaScript.
import WebSocket from "ws";
import { GREETING, KEY, SPOKEN, WS_URL, assert, audible, checked, finish, quiet, recorded, same, say, until } from "./checks.mjs";

const speak = (ws, ...pcm) =>
  say((chunk) => ws.send(JSON.stringify({ type: "input_audio_buffer.append", audio: chunk.toString("base64") })), ...pcm);

async function transcribes(url, options) {
  const ws = new WebSocket(url, options);
  const heard = [];
  ws.onmessage = (event) => {
    const data = JSON.parse(event.data);
    if (data.type === "error") heard.push(JSON.stringify(data.error));
    if (data.type === "conversation.item.input_audio_transcription.completed") {
      heard.push(data.transcript);
    }
  };
  await new Promise((resolve, reject) => ([ws.onopen, ws.onerror] = [resolve, reject]));
  await speak(ws, quiet(0.5), recorded("weather"), quiet(1.2));
  await until(() => heard.length);
  ws.close();
  same(heard[0], SPOKEN.weather);
}

const transcription = `${WS_URL}/v1/realtime?model=deepdml/faster-whisper-large-v3-turbo-ct2&intent=transcription`;
const headers = { Authorization: `Bearer ${KEY}` };
await checked("transcription, the key in the query", () => transcribes(`${transcription}&api_key=${KEY}`));
await checked("transcription, the key in a header", () => transcribes(transcription, { headers }));
await checked("transcription with language and transcription_model", () =>
  transcribes(
    `${WS_URL}/v1/realtime?model=your-model&intent=transcription&language=en&transcription_model=whisper-1&api_key=${KEY}`,
  ),
);
await checked("conversation, with the session of the guide", async () => {
  const ws = new WebSocket(`${WS_URL}/v1/realtime?model=gpt-4o-realtime-preview`, { headers });
  const events = [];
  ws.onmessage = (event) => events.push(JSON.parse(event.data));
  await new Promise((resolve, reject) => ([ws.onopen, ws.onerror] = [resolve, reject]));
  ws.send(
    JSON.stringify({
      type: "session.update",
      session: {
        input_audio_transcription: {
          model: "whisper-1",
        },
      },
    }),
  );
  await speak(ws, quiet(0.5), recorded("hello"), quiet(1.2));
  const came = (type) => events.filter((event) => event.type === type);
  await until(() => came("response.done").length || came("error").length, "response.done");
  ws.close();
  // The guide's own list, in its order.
  const flow = [
    "input_audio_buffer.speech_started",
    "input_audio_buffer.speech_stopped",
    "input_audio_buffer.committed",
    "conversation.item.created",
    "conversation.item.input_audio_transcription.completed",
    "response.created",
  ];
  const types = events.map((event) => event.type);
  const places = flow.map((type) => types.indexOf(type));
  assert(!came("error").length && places[0] >= 0, types.join(" "));
  assert(places.every((place, at) => !at || place > places[at - 1]), types.join(" "));
  same(came("conversation.item.input_audio_transcription.completed")[0].transcript, SPOKEN.hello);
  audible(Buffer.concat(came("response.audio.delta").map((event) => Buffer.from(event.delta, "base64"))), GREETING);
});
finish();
