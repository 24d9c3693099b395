"""Full stops that end no sentence. Rules only."""

from __future__ import annotations

import re

# Nothing ends after the first ones; after the second ones only if no number follows.
_ABBREVIATION = re.compile(
    r"(?:^|[\s(\"'„“*_])(?:(?:[^\W\d_]\.[ ]?){0,4}[^\W\d_]|(?:[a-z]\.[ ]?){1,4}[A-Za-z]{1,3}"
    r"|Mr|Mrs|Ms|Mx|Dr|Dra|Prof|St|Ste|Sr|Sra|Srta|Jr|Mme|Mlle|Hr|Fr|Sig|Dott|Ing|Rev|Gen|Col|Lt|Sgt|Capt|Hon|Gov|Sen|Rep|Mt|Ft"
    r"|vs|etc|cf|bzw|ca|usw|usf|evtl|ggf|inkl|exkl|bzgl|sog|vgl|Abs|Abb|Jh|Tel|Str|Nr|approx|al|resp|bijv|enz|ecc|pág|núm|Ud|Uds|ej"
    r"|Inc|Ltd|Co|Corp|Bros|Mio|Mrd|Fa|ul|prof|mgr|inż|św|EE|JJ|FF|c\.-à-d|[Уу]л|пл|им|стр|рис|проф|тыс|млн|млрд|руб|см|напр)\.$"
)
_NUMBERED = re.compile(
    r"(?:^|[\s(\"'])(?:No|Nos|Fig|Figs|Vol|Sec|Ch|Art|Eq|pp?|Kap|S|Jan|Feb|Aug|Sept|Oct|Nov|Dec)\.$", re.IGNORECASE
)
_DAY = re.compile(r"(?:^|[\s(])\d{1,2}\.$")  # as in the German "3. Oktober"
_DAY_AND_MONTH = re.compile(r"(?:^|[\s(])\d{1,2}\. \d{1,2}\.$")  # as in "3. 10. 2024"
_ORDINAL = re.compile(r"(?:^|[\s(„])(?:der|die|das|dem|den|des|im|ins|zum|zur|vom|beim) \d{1,3}\.$", re.IGNORECASE)
_MONTH = re.compile(r"\d{1,2}\.|Jan|Jän|Feb|Mär|Apr|Mai|Jun|Jul|Aug|Sep|Okt|Nov|Dez")
LONGEST_ABBREVIATION = 20  # characters


def is_abbreviation(before: str, after: str) -> bool:
    """Whether the full stop at the end of `before` belongs to an abbreviation, or to the day of a date.

    Args:
        before: The sentence up to the full stop, or its last LONGEST_ABBREVIATION characters.
        after: What follows in the same line, after a space: three characters are enough.
    """
    return (
        _ABBREVIATION.search(before) is not None
        or (after[:1].isdigit() and _NUMBERED.search(before) is not None)
        or (is_day(before) and _MONTH.match(after) is not None)
        or (_DAY_AND_MONTH.search(before) is not None and after[:3].isdecimal())
        or _ORDINAL.search(before) is not None
    )


def is_day(before: str) -> bool:
    """Whether it may be the day of a date, such as the German "3. Oktober"."""
    return _DAY.search(before) is not None
