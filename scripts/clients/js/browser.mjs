// What browsers do, which can set no header: the key among the subprotocols, or in the query. `ws` fails a connection, as they do,
// when the server does not choose one of the subprotocols that it was offered.
import WebSocket from "ws";
import { KEY, SPOKEN, URL, WS_URL, assert, checked, finish, quiet, recorded, same, say } from "./checks.mjs";

const KEY_PROTOCOL = `openai-insecure-api-key.${KEY}`;

/** Connect, send what `opened` sends, and take events until `isLast`. */
function connect(url, protocols, { opened = () => {}, isLast = () => true } = {}) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(url, protocols);
    const events = [];
    socket.on("open", () => opened((event) => socket.send(JSON.stringify(event))));
    socket.on("unexpected-response", (_, response) => reject(new Error(`status ${response.statusCode}`)));
    socket.on("error", reject);
    socket.on("message", (text) => {
      const event = JSON.parse(text);
      events.push(event);
      if (event.type === "error") reject(new Error(JSON.stringify(event.error)));
      if (isLast(event)) socket.close(1000);
    });
    socket.on("close", (code) => resolve({ events, code, protocol: socket.protocol }));
  });
}

const url = `${WS_URL}/v1/realtime?model=gpt-realtime`;
const isTranscript = (event) => event.type === "conversation.item.input_audio_transcription.completed";

await checked("the key as a subprotocol", async () => {
  const { events, protocol, code } = await connect(url, ["realtime", KEY_PROTOCOL, "openai-agents-sdk.0.20.0"]);
  assert(protocol === "realtime" && code === 1000, `${protocol}, ${code}`);
  assert(events[0].type === "session.created", events[0].type);
});
await checked("the key in the query", async () => {
  const { events } = await connect(`${url}&api_key=${KEY}`);
  assert(events[0].type === "session.created", events[0].type);
});
await checked("a wrong key, and none: 401 before the upgrade", async () => {
  for (const protocols of [["realtime", "openai-insecure-api-key.wrong"], ["realtime"]]) {
    const refused = await connect(url, protocols).catch((error) => error);
    assert(refused.message === "status 401", refused);
  }
});
await checked("a transcription, as AI SDK 7 streams one", async () => {
  const { events } = await connect(`${WS_URL}/v1/realtime?intent=transcription`, ["realtime", KEY_PROTOCOL], {
    opened: async (send) => {
      const transcription = { model: "gpt-live-transcribe", language: "en" };
      const input = { format: { type: "audio/pcm", rate: 24000 }, transcription, turn_detection: null };
      send({ type: "session.update", session: { type: "transcription", audio: { input } } });
      await say((pcm) => send({ type: "input_audio_buffer.append", audio: pcm.toString("base64") }), recorded("hello"));
      send({ type: "input_audio_buffer.commit" });
    },
    isLast: isTranscript,
  });
  const deltas = events.filter((event) => event.type.endsWith("input_audio_transcription.delta"));
  same(events.at(-1).transcript, SPOKEN.hello);
  same(deltas.map((event) => event.delta).join(""), SPOKEN.hello);
});
await checked("the beta's dialect, chosen by subprotocol", async () => {
  const { events } = await connect(url, ["realtime", KEY_PROTOCOL, "openai-beta.realtime-v1"], {
    opened: async (send) => {
      send({ type: "session.update", session: { input_audio_transcription: { model: "whisper-1" }, voice: "alloy" } });
      const push = (pcm) => send({ type: "input_audio_buffer.append", audio: pcm.toString("base64") });
      await say(push, quiet(0.5), recorded("hello"), quiet(1.2));
    },
    isLast: (event) => event.type === "response.done",
  });
  const types = new Set(events.map((event) => event.type));
  for (const type of ["conversation.item.created", "response.audio.delta", "response.audio_transcript.done"]) {
    assert(types.has(type), `no ${type}`);
  }
  for (const type of ["conversation.item.added", "response.output_audio.delta"]) assert(!types.has(type), type);
  same(events.find(isTranscript).transcript, SPOKEN.hello);
});
await checked("a client secret, minted for a browser", async () => {
  const answer = await fetch(`${URL}/v1/realtime/client_secrets`, {
    method: "POST",
    headers: { authorization: `Bearer ${KEY}`, "content-type": "application/json" },
    body: JSON.stringify({ session: { type: "realtime", instructions: "Sing." } }),
  });
  const { value } = await answer.json();
  const { events } = await connect(url, ["realtime", `openai-insecure-api-key.${value}`]);
  assert(events[0].session.instructions === "Sing.", events[0].session.instructions);
});
finish();
