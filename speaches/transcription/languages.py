"""The languages of Whisper: ISO 639-1 codes in requests, full names in OpenAI's `verbose_json`."""

from __future__ import annotations

from speaches.errors import InvalidRequest

NAMES = {
    "en": "english", "zh": "chinese", "de": "german", "es": "spanish", "ru": "russian", "ko": "korean", "fr": "french", "ja": "japanese",
    "pt": "portuguese", "tr": "turkish", "pl": "polish", "ca": "catalan", "nl": "dutch", "ar": "arabic", "sv": "swedish", "it": "italian",
    "id": "indonesian", "hi": "hindi", "fi": "finnish", "vi": "vietnamese", "he": "hebrew", "uk": "ukrainian", "el": "greek",
    "ms": "malay", "cs": "czech", "ro": "romanian", "da": "danish", "hu": "hungarian", "ta": "tamil", "no": "norwegian", "th": "thai",
    "ur": "urdu", "hr": "croatian", "bg": "bulgarian", "lt": "lithuanian", "la": "latin", "mi": "maori", "ml": "malayalam", "cy": "welsh",
    "sk": "slovak", "te": "telugu", "fa": "persian", "lv": "latvian", "bn": "bengali", "sr": "serbian", "az": "azerbaijani",
    "sl": "slovenian", "kn": "kannada", "et": "estonian", "mk": "macedonian", "br": "breton", "eu": "basque", "is": "icelandic",
    "hy": "armenian", "ne": "nepali", "mn": "mongolian", "bs": "bosnian", "kk": "kazakh", "sq": "albanian", "sw": "swahili",
    "gl": "galician", "mr": "marathi", "pa": "punjabi", "si": "sinhala", "km": "khmer", "sn": "shona", "yo": "yoruba", "so": "somali",
    "af": "afrikaans", "oc": "occitan", "ka": "georgian", "be": "belarusian", "tg": "tajik", "sd": "sindhi", "gu": "gujarati",
    "am": "amharic", "yi": "yiddish", "lo": "lao", "uz": "uzbek", "fo": "faroese", "ht": "haitian creole", "ps": "pashto",
    "tk": "turkmen", "nn": "nynorsk", "mt": "maltese", "sa": "sanskrit", "lb": "luxembourgish", "my": "myanmar", "bo": "tibetan",
    "tl": "tagalog", "mg": "malagasy", "as": "assamese", "tt": "tatar", "haw": "hawaiian", "ln": "lingala", "ha": "hausa",
    "ba": "bashkir", "jw": "javanese", "su": "sundanese", "yue": "cantonese",
}  # fmt: skip
"""Code -> name, from openai/whisper's tokenizer."""

OTHER_NAMES = {
    "burmese": "my", "valencian": "ca", "flemish": "nl", "haitian": "ht", "letzeburgesch": "lb", "pushto": "ps", "panjabi": "pa",
    "moldavian": "ro", "moldovan": "ro", "sinhalese": "si", "castilian": "es", "mandarin": "zh", "javanese": "jw", "farsi": "fa",
    "jv": "jw", "iw": "he", "in": "id", "nb": "no",
}  # fmt: skip
"""Names and codes that mean a language above."""

_CODES = {name: code for code, name in NAMES.items()} | OTHER_NAMES


def code_of(language: str) -> str:
    """The ISO 639-1 code of what a request calls a language: `en`, `en-US`, `EN`, `english`.

    Raises:
        InvalidRequest: If it is none that Whisper knows.
    """
    wanted = language.strip().lower().replace("_", "-")
    for name in (wanted, wanted.split("-")[0]):
        if name in NAMES:
            return name
        if name in _CODES:
            return _CODES[name]
    raise InvalidRequest(
        f"Unknown language {language!r}. Use an ISO 639-1 code such as 'en', 'de' or 'ja'.",
        param="language",
        code="invalid_value",
    )


def name_of(code: str) -> str:
    """`english` for `en`, as OpenAI's `verbose_json` has it."""
    return NAMES.get(code, code)
