// @openai/agents: RealtimeSession over a WebSocket, with text, a tool, speech and barge-in. Any error event is a failure.
import { setTracingDisabled, tool } from "@openai/agents";
import { OpenAIRealtimeWebSocket, RealtimeAgent, RealtimeSession } from "@openai/agents/realtime";
import { z } from "zod";
import {
  FAREWELL,
  FORECAST,
  GREETING,
  KEY,
  SPOKEN,
  STORY_BEGINS,
  URL,
  WS_URL,
  assert,
  audible,
  checked,
  finish,
  quiet,
  recorded,
  same,
  say,
  until,
  words,
} from "./checks.mjs";

setTracingDisabled(true);

const called = [];
const getWeather = tool({
  name: "get_weather",
  description: "The weather in a city.",
  parameters: z.object({ city: z.string() }),
  execute: async ({ city }) => {
    called.push(city);
    return `nice in ${city}`;
  },
});

async function converse(talk, config = {}, transport = {}) {
  const agent = new RealtimeAgent({ name: "Attendant", instructions: "Be brief.", tools: [getWeather] });
  const session = new RealtimeSession(agent, {
    transport: new OpenAIRealtimeWebSocket({ useInsecureApiKey: true, ...transport }),
    model: "gpt-realtime",
    config,
  });
  const conversation = { session, errors: [], wire: [], audio: [], interrupted: 0 };
  session.on("error", (error) => conversation.errors.push(error));
  session.on("transport_event", (event) => conversation.wire.push(event));
  session.on("audio", (event) => conversation.audio.push(Buffer.from(event.data)));
  session.on("audio_interrupted", () => conversation.interrupted++);
  conversation.came = (type) => conversation.wire.filter((event) => event.type === type);
  conversation.said = (role) =>
    session.history
      .filter((item) => item.type === "message" && item.role === role)
      .flatMap((item) => item.content.map((part) => part.transcript ?? part.text ?? ""));
  conversation.answered = async (answer) => {
    const hasCome = () => conversation.said("assistant").some((text) => words(text).join() === words(answer).join());
    await until(() => conversation.errors.length || hasCome(), answer);
    await until(() => conversation.came("response.done").length === conversation.came("response.created").length);
  };
  await session.connect({ apiKey: KEY, url: `${WS_URL}/v1/realtime?model=gpt-realtime` });
  try {
    await talk(conversation);
    assert(!conversation.errors.length, JSON.stringify(conversation.errors));
  } finally {
    session.close();
  }
}

const speak = (conversation, ...pcm) =>
  say((chunk) => conversation.session.sendAudio(new Uint8Array(chunk).buffer), ...pcm);

async function types(conversation) {
  conversation.session.sendMessage("Hello.");
  await conversation.answered(GREETING);
  audible(Buffer.concat(conversation.audio), GREETING);
}

async function reads(conversation) {
  conversation.session.sendMessage(SPOKEN.meeting);
  await conversation.answered(FAREWELL);
  assert(!conversation.audio.length, "there was audio");
}

async function usesATool(conversation) {
  conversation.session.sendMessage(SPOKEN.weather);
  await conversation.answered(FORECAST);
  assert(called.join() === "London", called);
  audible(Buffer.concat(conversation.audio), FORECAST);
}

async function speaks(conversation) {
  await speak(conversation, quiet(0.5), recorded("hello"), quiet(1.5));
  await conversation.answered(GREETING);
  await until(() => conversation.said("user").some(Boolean), "the transcript");
  same(conversation.said("user")[0], SPOKEN.hello);
  audible(Buffer.concat(conversation.audio), GREETING);
}

async function interrupts(conversation) {
  await speak(conversation, quiet(0.5), recorded("story"), quiet(1.5));
  await until(() => conversation.audio.length, "audio");
  await speak(conversation, quiet(0.7), recorded("meeting"), quiet(1.5));
  await until(() => conversation.interrupted, "audio_interrupted");
  await conversation.answered(FAREWELL);
  const [done] = conversation.came("response.done");
  assert(done.response.status === "cancelled", done.response.status);
  const [cut] = conversation.came("conversation.item.truncated");
  assert(cut.audio_end_ms > 300 && cut.audio_end_ms < 3500, JSON.stringify(cut));
  await until(() => conversation.said("user").filter(Boolean).length === 2, "both transcripts");
  same(conversation.said("user").join(" "), `${SPOKEN.story} ${SPOKEN.meeting}`);
  const kept = conversation.said("assistant").find((text) => text && words(text).join() !== words(FAREWELL).join());
  assert(!kept || STORY_BEGINS.startsWith(kept.trim()), kept);
}

async function interruptsByHand(conversation) {
  conversation.session.sendMessage(SPOKEN.story);
  await until(() => conversation.audio.length, "audio");
  conversation.session.interrupt();
  await until(() => conversation.came("response.done").length, "response.done");
  conversation.session.sendMessage("Hello again.");
  await conversation.answered(GREETING);
}

async function withAClientSecret() {
  const answer = await fetch(`${URL}/v1/realtime/client_secrets`, {
    method: "POST",
    headers: { authorization: `Bearer ${KEY}`, "content-type": "application/json" },
    body: JSON.stringify({ session: { type: "realtime", model: "gpt-realtime" } }),
  });
  const { value } = await answer.json();
  const session = new RealtimeSession(new RealtimeAgent({ name: "Attendant" }), { transport: "websocket" });
  await session.connect({ apiKey: value, url: `${WS_URL}/v1/realtime?model=gpt-realtime` });
  const text = new Promise((resolve) => session.once("agent_end", (_, __, output) => resolve(output)));
  session.sendMessage("Hello.");
  same(await text, GREETING);
  session.close();
}

const serverVad = { audio: { input: { turnDetection: { type: "server_vad", silenceDurationMs: 500 } } } };
await checked("text in, speech out", () => converse(types));
await checked("text in, text out", () => converse(reads, { outputModalities: ["text"] }));
await checked("a tool runs and is answered", () => converse(usesATool));
await checked("speech in, its own defaults (semantic VAD)", () => converse(speaks));
await checked("speech in, server VAD", () => converse(speaks, serverVad));
await checked("barge-in by speech, truncated", () => converse(interrupts));
await checked("barge-in by hand", () => converse(interruptsByHand));
await checked("a client secret, by subprotocol", withAClientSecret);
finish();
