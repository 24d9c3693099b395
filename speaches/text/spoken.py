"""Written text -> text to speak: Markdown, HTML tags, addresses, emoji and amounts. Rules only.

What is not understood stays as it is: `snake_case`, `C++`, `2*3*4`, `#1`, `R&D`. Numbers and abbreviations are left to the engines.
"""

from __future__ import annotations

import html
import re
from html.entities import html5

from speaches.text.addresses import spoken_email, spoken_url, url_and_rest
from speaches.text.amounts import with_amounts
from speaches.text.markup import NOTATION, PAUSE

LONGEST_SPAN = 300  # characters of what emphasis, a link or a tag may hold; a longer one is not understood

# Chinese, Japanese, Korean, Thai, Lao, Burmese and Khmer: their words touch each other, and the marks around them.
UNSPACED = r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
_WORD = rf"[^\W_{UNSPACED}]"

_EMOJI_CHARACTER = (
    r"[\U0001f000-\U0001faff\u2600-\u266c\u2670-\u2775\u2794-\u27bf"
    r"\u231a\u231b\u23e9-\u23fa\u25fb-\u25fe\u2b05-\u2b07\u2b1b\u2b1c\u2b50\u2b55]"
)
_JOINING = r"[\ufe0e\ufe0f\u200d\U000e0020-\U000e007f]"  # what follows or joins the characters of one emoji

# Every repetition is bounded or stops where it would be tried anew, and gives nothing back: a hostile text is as little work as any other.
CODE = rf"(?<!`)(?P<ticks>`{{1,2}})(?!`)(?P<code>[^`\n]{{1,{LONGEST_SPAN}}}+)(?P=ticks)(?!`)"
_TARGET = (
    rf"\((?:[^()\s]|\([^()\s]{{0,{LONGEST_SPAN}}}+\)){{0,{LONGEST_SPAN}}}+(?:[ ]\"[^\"\n]{{0,{LONGEST_SPAN}}}+\")?\)"
)
LINK = rf"!?\[(?P<label>[^\[\]\n]{{0,{LONGEST_SPAN}}}+)\]{_TARGET}"
TAG = (
    r"</?(?P<tag>a|abbr|article|b|big|blockquote|br|center|cite|code|dd|del|details|div|dl|dt|em|figcaption|figure|font|footer|h[1-6]|header"
    r"|hr|i|img|ins|kbd|li|main|mark|ol|p|pre|q|s|section|small|span|strong|sub|summary|sup|table|tbody|td|tfoot|th|thead|tr|u|ul)"
    r"(?:\s{1,9}+[\w:-]{1,40}+=(?:\"[^\"<>\n]{0,300}+\"|'[^'<>\n]{0,300}+'|[^\s\"'<>=]{1,300}+)){0,20}+\s{0,9}+/?>"
    rf"|<!--(?:[^<>\n-]|-(?!->)){{0,{LONGEST_SPAN}}}+-->"
)
URL = rf"(?i:(?<!{_WORD})(?<![@_])(?:https?://|www\.)(?=\w)[^\s<>\"“”「」『』（）。，、！？；：{UNSPACED}]{{2,{2 * LONGEST_SPAN}}}+)"
# As Pandoc takes dollars: not those of prices and shell variables. https://pandoc.org/MANUAL.html#extension-tex_math_dollars
_MATH = (
    rf"\\\([^\n]{{1,{LONGEST_SPAN}}}?\\\)|\\\[[^\n]{{1,{LONGEST_SPAN}}}?\\\]"
    rf"|(?<![\w$\\])(?P<dollars>\${{1,2}})(?=[^\s${{])[^$\n]{{1,{LONGEST_SPAN}}}+(?<=\S)(?P=dollars)(?![\w$])"
)
_IS_MATH = re.compile(r"[\\^_={}<>]|^[A-Za-z](?:\(|$)")  # not of "$5 and 6$"
_EMAIL = r"(?<![\w.+-])[\w.+-]{1,64}+@[^\W_][\w-]{0,63}+(?:\.[^\W_][\w-]{0,63}+){1,8}+"


def _emphasis(mark: str, most: int) -> str:
    """Emphasis by one to `most` marks around words, and not in the middle of one: neither `2*3*4` nor `*args` is that."""
    own = re.escape(mark)
    name = {"*": "stars", "_": "lines", "~": "waves"}[mark]
    least = 2 if mark == "~" else 1
    return (
        rf"(?<!{_WORD})(?<![{own}\\])(?!__[^\W_]++__)(?P<{name}>{own}{{{least},{most}}})(?=[^\s{own}.,;:/])"
        rf"[^{own}\n]{{1,{LONGEST_SPAN}}}+(?<=\S)(?P<{name}_end>(?P={name}))(?!{_WORD}|{own})"
    )


EMPHASIS = "|".join((_emphasis("*", 3), _emphasis("_", 3), _emphasis("~", 2)))

_INLINE = re.compile(
    rf"(?P<kept>{re.sub(r'[(][?]P<[a-z]+>', '(?:', NOTATION.pattern)}|\[pause:)|{CODE}|{LINK}|{TAG}"
    rf"|(?P<math>{_MATH})|(?P<url>{URL})|(?P<email>{_EMAIL})"
    rf"|(?P<keycap>[0-9#*])\ufe0f?\u20e3|(?P<emoji>[ ]?(?:{_EMOJI_CHARACTER}|[©®™‼⁉ℹ↔-↪]\ufe0f)(?:{_JOINING}|[ ]?{_EMOJI_CHARACTER})*+[ ]?)"
    r"|(?P<entity>&(?:[A-Za-z][A-Za-z0-9]{1,31}|\#\d{1,7}|\#[xX][0-9A-Fa-f]{1,6});)",
)
_EMPHASIS = re.compile(EMPHASIS)
_NOT_EMPHASIS = re.compile(rf"{NOTATION.pattern}|{PAUSE.pattern}|{CODE}|\]{_TARGET}|{URL}|{_EMAIL}")
_NEW_LINE = re.compile(
    r"br|hr|p|div|li|d[dtl]|t[rhd]|t(?:able|head|body|foot)|h[1-6]|blockquote|section|article|main|header|footer|details|summary|fig\w+|center"
    r"|[uo]l|pre",
    re.IGNORECASE,
)

_FENCE = re.compile(r"[ ]?(?:```|~~~)")
_RULE = re.compile(r"(?:[-*_=][ ]?){3,}+$|\\[\[\]]$|\$\$$")  # or around a formula
_QUOTE = re.compile(r"(?:>[ ]?)++")
_HEADING = re.compile(r"\#{1,6}[ ]++")
_HEADING_END = re.compile(r"[ ]\#++$")
_ITEM = re.compile(r"[-*+•‣◦▪●○][ ]++(?:\[[ xX]\][ ]++)?")
_NUMBERED = re.compile(r"\d{1,3}[.)][ ]")
_CELLS_ONLY = re.compile(r"[-: ]*+$")
# Digits of code, formulas and addresses, for as long as amounts are looked for: characters that nobody writes.
_HIDDEN = {ord("0") + digit: 0x10FFF0 + digit for digit in range(10)}
_SHOWN = {hidden: digit for digit, hidden in _HIDDEN.items()}
_OPEN_ENDED = re.compile(rf"[^\W\d]$|[{UNSPACED}]$|[)\"'”’»]$")


def spoken(text: str, language: str | None = None) -> str:
    """Text as it is to be read out, line by line. Never longer than a few times the text; empty if there is nothing to say in it.

    `language` (BCP 47) chooses the words for the signs in addresses; English ones where there are no others.
    """
    reader = Reader(language)
    lines = (reader.read(line.strip(), starts_line=True, ends_line=True) for line in text.split("\n"))
    return "\n".join(line for line in lines if line)


class Reader:
    """Reads a text out that comes in stretches of lines, in order. Knows whether it is among lines of code."""

    def __init__(self, language: str | None = None) -> None:
        self._language = language
        self.fenced = False
        """Whether the lines are a block of code, in which nothing is Markdown."""
        self._own_sentence = False
        """Whether the line needs a sentence mark at its end: its writer ended it with the line."""

    def read(self, stretch: str, *, starts_line: bool, ends_line: bool) -> str:
        """A line or a part of one, without white space around it. May become several lines, or nothing."""
        if starts_line:
            if _FENCE.match(stretch):
                self.fenced = not self.fenced
                return ""
            if not self.fenced:
                stretch = self._without_block_marks(stretch)
        if self.fenced:
            return stretch
        text = with_amounts(_inline(_unemphasised(stretch), self._language), self._language).translate(_SHOWN)
        if text != stretch:
            lines = (" ".join(filter(None, line.split(" "))) for line in text.split("\n"))
            text = "\n".join(filter(None, lines))
        if ends_line and self._own_sentence and (last := _OPEN_ENDED.search(text)):
            text += "。" if "\u3040" <= last[0] <= "\u9fff" else "."
        return text

    def _without_block_marks(self, line: str) -> str:
        """A line without what makes it a heading, an item, a quote, a row or a rule."""
        line = _QUOTE.sub("", line, count=1) if line.startswith(">") else line
        self._own_sentence = True
        if heading := _HEADING.match(line):
            return _HEADING_END.sub("", line[heading.end() :])
        if _RULE.match(line):
            return ""
        if item := _ITEM.match(line):
            return line[item.end() :]
        if len(line) > 1 and line.startswith("|") and line.endswith("|"):
            return ", ".join(cell for cell in map(str.strip, line.split("|")) if not _CELLS_ONLY.match(cell))
        self._own_sentence = _NUMBERED.match(line) is not None
        return line


def _unemphasised(text: str) -> str:
    """Text without the marks of emphasis. The inner ones go first, two deep."""
    if not any(mark in text for mark in "*_~"):
        return text
    masked = _NOT_EMPHASIS.sub(_masked, text)
    for _ in range(2):
        marks = []
        for found in _EMPHASIS.finditer(masked):
            name = found.lastgroup or ""
            marks += [found.span(name.removesuffix("_end")), found.span(name)]
        text, masked = _cut_out(text, marks), _cut_out(masked, marks)
    return text


def _masked(found: re.Match[str]) -> str:
    """Code or an address without the marks in it, in a text of the same length."""
    inner = found[0][1:].rstrip("*_~")
    return found[0][0] + "x" * (len(inner) - 1) + inner[-1:] + found[0][1 + len(inner) :]


def _cut_out(text: str, marks: list[tuple[int, int]]) -> str:
    starts = [0, *(end for _, end in marks)]
    ends = [*(start for start, _ in marks), len(text)]
    return "".join(text[start:end] for start, end in zip(starts, ends, strict=True))


def _inline(text: str, language: str | None) -> str:
    """Text without notation but that of phonemes and pauses. The digits in what can't be an amount are _HIDDEN."""

    def read(found: re.Match[str]) -> str:
        if found["code"] is not None:
            return found["code"].translate(_HIDDEN)
        if found["label"] is not None:
            return _inline(found["label"], language)
        if found["tag"]:
            return "\n" if _NEW_LINE.fullmatch(found["tag"]) else ""
        if found["math"]:
            return _without_dollars(found["math"])
        if found["url"]:
            url, rest = url_and_rest(found["url"])
            return spoken_url(url, language).translate(_HIDDEN) + rest
        if found["email"]:
            return spoken_email(found["email"], language).translate(_HIDDEN)
        if found["emoji"]:
            return _in_place_of_emoji(found)
        if found["entity"]:
            return _character(found["entity"])
        if found[0].startswith("<!--"):
            return ""
        return found["keycap"] or found[0]

    return _INLINE.sub(read, text)


def _without_dollars(formula: str) -> str:
    """A formula without what is around it: that would be spoken. What is in it may be too much for any engine."""
    inner = formula.strip("$") if formula.startswith("$") else formula[2:-2]
    is_formula = not formula.startswith("$") or _IS_MATH.search(inner)
    return inner.strip().translate(_HIDDEN) if is_formula else formula


def _character(entity: str) -> str:
    """What `&eacute;` or `&#233;` stands for. Not by `html.unescape` where it has a name: of `&timestamp;` that makes "×tamp;"."""
    meant = html.unescape(entity) if entity.startswith("&#") else html5.get(entity[1:], entity)
    return " ".join(meant.split()) or " "


def _in_place_of_emoji(found: re.Match[str]) -> str:
    """The space that keeps the words around it apart; none before the marks of a sentence."""
    after = found.string[found.end() : found.end() + 1]
    return " " if after and after not in ".,;:!?…)。，、！？" else ""
