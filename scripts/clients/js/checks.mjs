// What the JavaScript clients share; ../checks.py says the same for Python.
import { readFileSync } from "node:fs";

export const URL = process.env.SPEACHES_URL;
export const KEY = process.env.SPEACHES_KEY;
export const WS_URL = URL.replace("http", "ws");
export const WIRE_RATE = 24_000; // Hz
const PATIENCE = 30_000; // ms until what does not come is a failure

export const GREETING = "Thank you for calling, how can I help you?";
export const FORECAST = "The weather is nice today.";
export const FAREWELL = "Goodbye, see you tomorrow.";
export const STORY_BEGINS = "Good morning and welcome to the show. The quick brown fox jumps over the lazy dog.";
export const SPOKEN = JSON.parse(readFileSync(`${process.env.RECORDINGS}/spoken.json`, "utf8"));

let failed = false;

/** Do a part of the script, and print how it went. The next part follows in any case. */
export async function checked(what, part) {
  const started = performance.now();
  let problem = null;
  try {
    await part();
  } catch (error) {
    console.error(error);
    problem = String(error).slice(0, 300);
    failed = true;
  }
  const seconds = Math.round((performance.now() - started) / 100) / 10;
  console.log(JSON.stringify({ check: what, seconds, problem }));
}

export function finish() {
  process.exit(failed ? 1 : 0);
}

export function assert(holds, message) {
  if (!holds) throw new Error(message);
}

/** A WAV file of one of SPOKEN. */
export function recording(name) {
  return readFileSync(`${process.env.RECORDINGS}/${name}.wav`);
}

/** The same as s16le at 24 kHz: Python's writer makes a header of 44 bytes. */
export function recorded(name) {
  return recording(name).subarray(44);
}

export function quiet(seconds) {
  return Buffer.alloc(2 * Math.round(seconds * WIRE_RATE));
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Wait for a state, and return it. */
export async function until(state, what = state) {
  const deadline = performance.now() + PATIENCE;
  for (;;) {
    const value = state();
    if (value) return value;
    assert(performance.now() < deadline, `waited ${PATIENCE} ms in vain: ${what}`);
    await sleep(10);
  }
}

/** Hand over audio in real time, 100 ms at a time. */
export async function say(push, ...pcm) {
  const whole = Buffer.concat(pcm);
  for (let start = 0; start < whole.length; start += WIRE_RATE / 5) {
    push(whole.subarray(start, start + WIRE_RATE / 5));
    await sleep(100);
  }
}

export const words = (text) => text.toLowerCase().match(/[\p{L}\p{N}']+/gu) ?? [];

/** The right words, whatever their case and what stands between them. */
export function same(heard, said) {
  assert(heard != null && words(heard).join() === words(said).join(), `'${heard}' is not '${said}'`);
}

/** Samples (s16le, 24 kHz) that are loud enough, and take about as long as these words do. */
export function audible(pcm, said) {
  assert(pcm.length % 2 === 0, `${pcm.length} bytes are no whole samples`);
  let loudest = 0;
  for (let at = 0; at < pcm.length; at += 2) loudest = Math.max(loudest, Math.abs(pcm.readInt16LE(at)));
  assert(loudest > 3000, `the loudest of ${pcm.length / 2} samples is ${loudest}`);
  const [seconds, expected] = [pcm.length / 2 / WIRE_RATE, words(said).length / 3];
  assert(seconds > 0.4 * expected && seconds < 2.5 * expected, `${seconds} s for '${said}'`);
}

/** A file of speech of which our own recogniser gets half the words or more, asked without the help of any client. */
export async function understood(audio, said) {
  const form = new FormData();
  form.set("file", new Blob([audio]), "speech");
  form.set("model", "whisper-1");
  const headers = { authorization: `Bearer ${KEY}` };
  const answer = await fetch(`${URL}/v1/audio/transcriptions`, { method: "POST", headers, body: form });
  const heard = words((await answer.json()).text);
  const known = words(said).filter((word) => heard.includes(word)).length;
  assert(known >= words(said).length / 2, `of '${said}' was heard '${heard.join(" ")}'`);
}
