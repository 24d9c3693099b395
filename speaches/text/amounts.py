"""Money, ranges, dates and telephone numbers as one reads them out, where engines would spell their signs. Rules only.

"$5.99" is "5 dollars and 99 cents", where espeak-ng says "dollar five point nine nine". The numbers themselves are left to the engines.
"""

from __future__ import annotations

import re

_SIGNED = re.compile(r"[$€£¥₹–+(]|\d-\d")
"""What every amount here has; most texts have none of it."""

# --- Money, in English: elsewhere the sign mostly follows the number, and is read well ---


def _amount(name: str) -> str:
    return (
        rf"(?P<{name}whole>\d{{1,3}}(?:,\d{{3}}){{1,6}}|\d{{1,18}})(?:\.(?P<{name}part>\d{{1,9}}))?"
        rf"(?P<{name}multiple>bn|[kKmMBT]|[ -](?:thousand|million|billion|trillion))?"
    )


_MONEY = re.compile(
    rf"(?<![\w$€£¥₹])\\?(?P<sign>[$€£¥₹]){_amount('')}(?:(?P<dash>[–-])(?P<again>\\?(?P=sign))?{_amount('to_')})?(?![\w$]|[.,]\d)"
)
"""An amount, or two with a dash between them. Markdown writes "\\$5", lest it be a formula."""
_ARTICLE = re.compile(r"(?:^|\W)[Aa]n? $")
"""What comes before "20 dollar bill", where it would else be "20 dollars"."""
_UNITS = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "€": ("euro", "euros", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "¥": ("yen", "yen", "", ""),
    "₹": ("rupee", "rupees", "paisa", "paise"),
}
_MULTIPLES = {
    "k": "thousand",
    "K": "thousand",
    "m": "million",
    "M": "million",
    "B": "billion",
    "bn": "billion",
    "T": "trillion",
}

# --- Dates, in English ---

_DATE = re.compile(
    r"(?<![\w/.:+-])(?P<year>[12]\d{3})-(?P<month>0[1-9]|1[0-2])-(?P<day>0[1-9]|[12]\d|3[01])(?![\w/:-]|\.\w)"
)
_MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
)  # fmt: skip

# --- In every language, or several ---

# Not in a sum: "3-4 = -1".
_RANGE = re.compile(
    r"(?<![\w–.,:/=-])(?<!= )(?P<from>[$€£¥₹]?\d[\d.,:]{0,20}+)(?P<dash>[–-])(?=[$€£¥₹]?(?P<to>\d[\d.,:]{0,20}+))"
    r"(?![$€£¥₹]?[\d.,:]{1,21}+(?:[–/-]| ?=))"
)
_PAIR = re.compile(r"(?<![\w.,:/–-])(\d{1,2})-(\d{1,2})(?![\w/–-]|[.,:]\d)")
# A hyphen is a part of a name in "figure 2-3", and in "the 9-11 attacks".
_NUMBERED = re.compile(r"(?:^|\W)(?i:figure|fig\.|table|equation|room|apt\.?|unit|suite|gate|highway|level|world) $")
_KNOWN = re.compile(r"(?:^|\W)(?i:the|on|after|since|before|at) $")
_KNOWN_NAMES = {("9", "11"), ("7", "11")}

_TIME = re.compile(r"\d{1,2}:\d{2}")
_COUNT = re.compile(r"0|[1-9]\d{0,3}")
_TO = {"de": "bis", "en": "to", "es": "a", "fr": "à", "it": "a", "nl": "tot", "pt": "a"}

# With a country's number, or as Americans write theirs.
_TELEPHONE = re.compile(
    r"(?<![\w.+-])(?:\+\d{1,15}+(?:[ ./-]?\(\d{1,4}\)(?:[ ./-]?\d{2,12}+)?|[ ./-]\d{1,12}+)?(?:[ ./-]\d{2,12}+){0,5}+"
    r"|(?:\(\d{3}\)[ ]?|\d{3}-)\d{3}-\d{4})(?![\w-]|[.,]\d)"
)
_FEWEST_DIGITS, _MOST_DIGITS = 8, 15  # of an international number: https://www.itu.int/rec/T-REC-E.164
_COUNTRY = re.compile(r"1|7|[2-9]\d{1,2}")
_FEWEST_TOGETHER = 9  # digits that are not in groups: fewer may well be a number of something


def with_amounts(text: str, language: str | None) -> str:
    """The text with its amounts written out. `language` (BCP 47) tells which are understood; without it none are."""
    if language is None or not _SIGNED.search(text):
        return text
    primary = language.lower().split("-")[0]
    text = _TELEPHONE.sub(_telephone, text)
    if primary == "en":
        text = _DATE.sub(_date, _MONEY.sub(_money, text))
    if to := _TO.get(primary):
        scored = any(int(first) > int(second) for first, second in _PAIR.findall(text))
        text = _RANGE.sub(lambda found: f"{found['from']} {to} " if _is_range(found, scored) else found[0], text)
    return text


def _is_range(found: re.Match[str], scored: bool) -> bool:
    """Whether a dash means "to". A hyphen does so between times, years, and small or round numbers: not in 3-1, 555-1234 or 737-800.

    `scored`: whether 3-1 or the like is in the text, too. Then 1-3 is another score.
    """
    start, end = found["from"].lstrip("$€£¥₹"), found["to"].rstrip(".,:")
    if found["dash"] == "–" or (_TIME.fullmatch(start) and _TIME.fullmatch(end)):
        return True
    if not (_COUNT.fullmatch(start) and _COUNT.fullmatch(end) and int(start) < int(end)):
        return False
    if len(end) < 3:
        is_score = scored or (start == "0" and len(end) == 1)  # 0-3, not 0-60 mph
        return not is_score and not _is_named(found, start, end)
    return int(start) % 5 == int(end) % 5 == 0 if len(end) == 3 else len(start) == 4


def _is_named(found: re.Match[str], start: str, end: str) -> bool:
    """Whether what is before two numbers says that they are a name."""
    before = found.string[max(0, found.start() - 12) : found.start()]
    return bool(_NUMBERED.search(before) or ((start, end) in _KNOWN_NAMES and _KNOWN.search(before)))


def _money(found: re.Match[str]) -> str:
    one, many, one_part, many_parts = _UNITS[found["sign"]]
    if _ARTICLE.search(found.string[max(0, found.start() - 4) : found.start()]):
        many, many_parts = one, one_part if one_part == "cent" else many_parts
    units = (one, many, one_part, many_parts)
    first = _amount_of(found, "", units)
    if found["dash"] is None:
        return first
    if not (found["again"] or found["to_multiple"] or _number(found, "to_") > _number(found, "")):
        return first + found.string[found.start("dash") : found.end()]
    if not (_has_cents(found, "") or _has_cents(found, "to_")):  # "5 to 10 dollars"
        first = _without_unit(found, "")
    return f"{first} to {_amount_of(found, 'to_', units)}"


def _amount_of(found: re.Match[str], name: str, units: tuple[str, str, str, str]) -> str:
    """One amount with its unit. `name` is what its groups begin with, as in the functions below."""
    one, many, one_part, many_parts = units
    whole, part = found[f"{name}whole"], found[f"{name}part"]
    if not one_part or not _has_cents(found, name):
        return f"{_without_unit(found, name)} {one if _without_unit(found, name) == '1' else many}"
    first = f"{whole} {one if whole == '1' else many}"
    second = f"{int(part)} {one_part if part == '01' else many_parts}"
    if not int(part):
        return first
    return second if whole == "0" else f"{first} and {second}"


def _without_unit(found: re.Match[str], name: str) -> str:
    whole, part, multiple = found[f"{name}whole"], found[f"{name}part"], found[f"{name}multiple"]
    number = f"{whole}.{part}" if part else whole
    return f"{number} {_MULTIPLES.get(multiple, multiple[1:])}" if multiple else number


def _has_cents(found: re.Match[str], name: str) -> bool:
    return len(found[f"{name}part"] or "") == 2 and not found[f"{name}multiple"]


def _number(found: re.Match[str], name: str) -> float:
    return float(f"{found[f'{name}whole'].replace(',', '')}.{found[f'{name}part'] or 0}")


def _date(found: re.Match[str]) -> str:
    return f"{_MONTHS[int(found['month']) - 1]} {int(found['day'])}, {found['year']}"


def _telephone(found: re.Match[str]) -> str:
    """Digit by digit but for the country's number, with a little rest after each group."""
    groups = re.findall(r"\d+", found[0])
    fewest = _FEWEST_DIGITS if len(groups) > 1 else _FEWEST_TOGETHER
    if not fewest <= sum(map(len, groups)) <= _MOST_DIGITS:
        return found[0]
    if not found[0].startswith("+"):
        return ", ".join(" ".join(group) for group in groups)
    if len(groups) > 1 and not _COUNTRY.fullmatch(groups[0]):
        return found[0]
    country = [groups.pop(0)] if len(groups) > 1 else []
    return "+" + ", ".join(country + [" ".join(group) for group in groups])
