"""What a voice says of itself, in its language."""

from __future__ import annotations

ENGLISH = "Hello, this is how I sound. It is nice to meet you."
SENTENCES = {
    "ar": "مرحبا، هكذا يبدو صوتي.",
    "de": "Hallo, so klinge ich. Schön, dich kennenzulernen.",
    "en": ENGLISH,
    "es": "Hola, así es como sueno. Encantado de conocerte.",
    "fr": "Bonjour, voici ma voix. Ravi de vous rencontrer.",
    "hi": "नमस्ते, मेरी आवाज़ ऐसी है।",
    "it": "Ciao, questa è la mia voce. Piacere di conoscerti.",
    "ja": "こんにちは、これが私の声です。",
    "ko": "안녕하세요, 이것이 제 목소리입니다.",
    "nl": "Hallo, zo klink ik. Leuk je te ontmoeten.",
    "pl": "Cześć, tak brzmi mój głos. Miło cię poznać.",
    "pt": "Olá, esta é a minha voz. Prazer em conhecê-lo.",
    "ru": "Здравствуйте, так звучит мой голос.",
    "sv": "Hej, så här låter jag. Trevligt att träffas.",
    "tr": "Merhaba, sesim böyle. Tanıştığımıza memnun oldum.",
    "uk": "Вітаю, так звучить мій голос.",
    "vi": "Xin chào, đây là giọng nói của tôi.",
    "zh": "你好，这就是我的声音。",
}
"""By ISO 639-1; other languages get English, spoken as they would."""


def preview_text(language: str) -> str:
    """A sentence or two in a language (BCP 47)."""
    return SENTENCES.get(language.partition("-")[0].lower(), ENGLISH)
