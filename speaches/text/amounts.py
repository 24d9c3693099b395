"""Money, ranges, dates and telephone numbers as one reads them out, where engines would spell their signs. Rules only.

"$5.99" is "5 dollars and 99 cents", where espeak-ng says "dollar five point nine nine". The numbers themselves are left to the engines.
"""

from __future__ import annotations

import re

_SIGNED = re.compile(r"[$€£¥₹–+(]|\d-\d")
"""What every amount here has; most texts have none of it."""

# --- Money, in English: elsewhere the sign mostly follows the number, and is read well ---

_MONEY = re.compile(
    r"(?<![\w$€£¥₹])(?P<sign>[$€£¥₹])(?P<whole>\d{1,3}(?:,\d{3}){1,6}|\d{1,18})(?:\.(?P<part>\d{1,9}))?"
    r"(?:(?P<short>bn|[kKMBT])|[ ](?P<long>thousand|million|billion|trillion))?(?![\w$]|[.,]\d)"
)
_UNITS = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "€": ("euro", "euros", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "¥": ("yen", "yen", "", ""),
    "₹": ("rupee", "rupees", "paisa", "paise"),
}
_MULTIPLES = {"k": "thousand", "K": "thousand", "M": "million", "B": "billion", "bn": "billion", "T": "trillion"}

# --- Dates, in English ---

_DATE = re.compile(
    r"(?<![\w/.:+-])(?P<year>[12]\d{3})-(?P<month>0[1-9]|1[0-2])-(?P<day>0[1-9]|[12]\d|3[01])(?![\w/:-]|\.\w)"
)
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
)  # fmt: skip

# --- In every language, or several ---

_RANGE = re.compile(
    r"(?<![\w–.,:/-])(?P<from>[$€£¥₹]?\d[\d.,:]{0,20}+)(?P<dash>[–-])(?=[$€£¥₹]?(?P<to>\d[\d.,:]{0,20}+))(?![$€£¥₹]?[\d.,:]{1,21}+[–/-])"
)
_TIME = re.compile(r"\d{1,2}:\d{2}")
_COUNT = re.compile(r"[1-9]\d{0,3}")
_TO = {"de": "bis", "en": "to", "es": "a", "fr": "à", "it": "a", "nl": "tot", "pt": "a"}

# With a country's number, or as Americans write theirs.
_TELEPHONE = re.compile(
    r"(?<![\w.+-])(?:\+\d{1,3}(?:[ ./-]?\(\d{1,4}\)|[ ./-]\d{1,5}|\d{2,12})(?:[ ./-]?\d{2,8}){0,5}"
    r"|(?:\(\d{3}\)[ ]?|\d{3}-)\d{3}-\d{4})(?![\w-]|[.,]\d)"
)
_FEWEST_DIGITS, _MOST_DIGITS = 8, 15  # of an international number: https://www.itu.int/rec/T-REC-E.164


def with_amounts(text: str, language: str | None) -> str:
    """The text with its amounts written out. `language` (BCP 47) tells which are understood; without it none are."""
    if language is None or not _SIGNED.search(text):
        return text
    primary = language.lower().split("-")[0]
    text = _TELEPHONE.sub(_telephone, text)
    if to := _TO.get(primary):
        text = _RANGE.sub(lambda found: f"{found['from']} {to} " if _is_range(found) else found[0], text)
    return _DATE.sub(_date, _MONEY.sub(_money, text)) if primary == "en" else text


def _is_range(found: re.Match[str]) -> bool:
    """Whether a dash means "to". A hyphen does so between times, years, and small or round numbers: not in 3-1, 555-1234 or 737-800."""
    start, end = found["from"].lstrip("$€£¥₹"), found["to"].rstrip(".,:")
    if found["dash"] == "–" or (_TIME.fullmatch(start) and _TIME.fullmatch(end)):
        return True
    if not (_COUNT.fullmatch(start) and _COUNT.fullmatch(end) and int(start) < int(end)):
        return False
    if len(end) < 3:
        return True
    return int(start) % 5 == int(end) % 5 == 0 if len(end) == 3 else len(start) == 4


def _money(found: re.Match[str]) -> str:
    one, many, one_part, many_parts = _UNITS[found["sign"]]
    whole, part = found["whole"], found["part"]
    if multiple := _MULTIPLES.get(found["short"] or "", found["long"]):
        return f"{whole}{'.' + part if part else ''} {multiple} {many}"
    if part is None or not one_part or len(part) != 2:
        return f"{whole}{'.' + part if part else ''} {one if whole == '1' and not part else many}"
    units = f"{whole} {one if whole == '1' else many}"
    parts = f"{int(part)} {one_part if part == '01' else many_parts}"
    if not int(part):
        return units
    return parts if whole == "0" else f"{units} and {parts}"


def _date(found: re.Match[str]) -> str:
    return f"{_MONTHS[int(found['month']) - 1]} {int(found['day'])}, {found['year']}"


def _telephone(found: re.Match[str]) -> str:
    """Digit by digit but for the country's number, with a little rest after each group."""
    groups = re.findall(r"\d+", found[0])
    if not _FEWEST_DIGITS <= sum(map(len, groups)) <= _MOST_DIGITS:
        return found[0]
    country = [groups.pop(0)] if found[0].startswith("+") and len(groups[0]) <= 3 else []
    spelt = ", ".join(country + [" ".join(group) for group in groups])
    return f"+{spelt}" if found[0].startswith("+") else spelt
