"""The languages of Whisper: ISO 639-1 codes in requests, full names in OpenAI's `verbose_json`."""

from __future__ import annotations

from collections.abc import Iterable

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
    "filipino": "tl", "bokmål": "no", "norwegian bokmål": "no", "norwegian nynorsk": "nn",
    "jv": "jw", "iw": "he", "in": "id", "nb": "no", "ji": "yi", "mo": "ro", "zh-yue": "yue",
}  # fmt: skip
"""Names and codes that mean a language above."""

LONG_CODES = {
    "afr": "af", "alb": "sq", "amh": "am", "ara": "ar", "arb": "ar", "arm": "hy", "asm": "as", "aze": "az", "azj": "az", "bak": "ba",
    "baq": "eu", "bel": "be", "ben": "bn", "bod": "bo", "bos": "bs", "bre": "br", "bul": "bg", "bur": "my", "cat": "ca", "ces": "cs",
    "chi": "zh", "cmn": "zh", "cym": "cy", "cze": "cs", "dan": "da", "deu": "de", "dut": "nl", "ekk": "et", "ell": "el", "eng": "en",
    "est": "et", "eus": "eu", "fao": "fo", "fas": "fa", "fil": "tl", "fin": "fi", "fra": "fr", "fre": "fr", "geo": "ka", "ger": "de",
    "glg": "gl", "gre": "el", "guj": "gu", "hat": "ht", "hau": "ha", "heb": "he", "hin": "hi", "hrv": "hr", "hun": "hu", "hye": "hy",
    "ice": "is", "ind": "id", "isl": "is", "ita": "it", "jav": "jw", "jpn": "ja", "kan": "kn", "kat": "ka", "kaz": "kk", "khk": "mn",
    "khm": "km", "kor": "ko", "lao": "lo", "lat": "la", "lav": "lv", "lin": "ln", "lit": "lt", "ltz": "lb", "lvs": "lv", "mac": "mk",
    "mal": "ml", "mao": "mi", "mar": "mr", "may": "ms", "mkd": "mk", "mlg": "mg", "mlt": "mt", "mol": "ro", "mon": "mn", "mri": "mi",
    "msa": "ms", "mya": "my", "nep": "ne", "nld": "nl", "nno": "nn", "nob": "no", "nor": "no", "npi": "ne", "oci": "oc", "pan": "pa",
    "pbt": "ps", "per": "fa", "pes": "fa", "plt": "mg", "pol": "pl", "por": "pt", "prs": "fa", "pus": "ps", "ron": "ro", "rum": "ro",
    "rus": "ru", "san": "sa", "sin": "si", "slk": "sk", "slo": "sk", "slv": "sl", "sna": "sn", "snd": "sd", "som": "so", "spa": "es",
    "sqi": "sq", "srp": "sr", "sun": "su", "swa": "sw", "swe": "sv", "swh": "sw", "tam": "ta", "tat": "tt", "tel": "te", "tgk": "tg",
    "tgl": "tl", "tha": "th", "tib": "bo", "tuk": "tk", "tur": "tr", "ukr": "uk", "urd": "ur", "uzb": "uz", "uzn": "uz", "vie": "vi",
    "wel": "cy", "yid": "yi", "yor": "yo", "ydd": "yi", "zho": "zh", "zsm": "ms",
}  # fmt: skip
"""Codes of three letters: ISO 639-2, in both of its forms, and 639-3 of the member that is meant by a language's name."""

DETECTED = {"auto", "detect", "autodetect", "auto-detect", "multi", "mul", "und"}
"""What clients send for "detect it": whisper.cpp's word and those around it, Deepgram's, and ISO 639's "several" and "undetermined"."""

_CODES = {name: code for code, name in NAMES.items()} | OTHER_NAMES | LONG_CODES


def code_of(language: str) -> str:
    """The code in NAMES of what a request calls a language: `en`, `en-US`, `EN`, `eng`, `english`.

    Raises:
        InvalidRequest: If it is none that Whisper knows.
    """
    wanted = _normalised(language)
    for name in (wanted, wanted.split("-")[0]):
        if name in NAMES:
            return name
        if name in _CODES:
            return _CODES[name]
    raise InvalidRequest(
        f"Unknown language {language!r}. Use an ISO 639-1 code such as 'en', 'de' or 'ja', or 'auto' to have it detected.",
        param="language",
        code="invalid_value",
    )


def code_or_detected(language: str | None) -> str | None:
    """The code of what a request calls a language; None where it is to be detected. Raises InvalidRequest."""
    if language is None or not language.strip() or _normalised(language) in DETECTED:
        return None
    return code_of(language)


def candidates_of(languages: Iterable[str]) -> tuple[str, ...]:
    """The codes of those that detection may choose from, each once; empty for all. Raises InvalidRequest."""
    codes = [code_or_detected(language) for language in languages if language.strip()]
    return () if None in codes else tuple(dict.fromkeys(code for code in codes if code))


def _normalised(language: str) -> str:
    return language.strip().lower().replace("_", "-")


def name_of(code: str) -> str:
    """`english` for `en`, as OpenAI's `verbose_json` has it."""
    return NAMES.get(code, code)
