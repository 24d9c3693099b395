// Vercel's AI SDK: transcribe, generateSpeech, generateText.
import { createOpenAI } from "@ai-sdk/openai";
import { generateText, experimental_generateSpeech as generateSpeech, experimental_transcribe as transcribe } from "ai";
import {
  FAREWELL,
  GREETING,
  KEY,
  SPOKEN,
  URL,
  assert,
  checked,
  finish,
  recording,
  same,
  understood,
} from "./checks.mjs";

const openai = createOpenAI({ baseURL: `${URL}/v1`, apiKey: KEY });

for (const model of ["whisper-1", "gpt-4o-mini-transcribe"]) {
  await checked(`transcribe, ${model}`, async () => {
    const openaiOptions = model === "whisper-1" ? { timestampGranularities: ["segment"] } : {}; // then it wants verbose_json
    const heard = await transcribe({
      model: openai.transcription(model),
      audio: recording("weather"),
      providerOptions: { openai: openaiOptions },
    });
    same(heard.text, SPOKEN.weather);
    if (model === "whisper-1") {
      assert(heard.language === "en", `language ${heard.language}`);
      assert(heard.segments.length && heard.durationInSeconds > 1, "no segments or duration");
    }
  });
}
await checked("generateSpeech, its defaults (mp3)", async () => {
  const { audio } = await generateSpeech({ model: openai.speech("gpt-4o-mini-tts"), text: GREETING });
  assert(audio.mediaType === "audio/mp3" || audio.mediaType === "audio/mpeg", audio.mediaType);
  await understood(audio.uint8Array, GREETING);
});
await checked("generateText through voice chat's LLM", async () => {
  const { text } = await generateText({ model: openai.chat("gpt-4o-mini"), prompt: SPOKEN.meeting });
  same(text, FAREWELL);
});
finish();
