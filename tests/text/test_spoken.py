"""Written text as it is read out."""

from __future__ import annotations

import pytest

from speaches.text.addresses import spoken_email, spoken_url
from speaches.text.spoken import spoken
from tests.text.work import grows_like_the_text


@pytest.mark.parametrize(
    "text",
    [
        "snake_case and camelCase and __init__ and _private",
        "C++ and C# and R&D and AT&T",
        "a*b*c 2*3*4 2**3**4 5 * 3 * 2",
        "f(*args, **kwargs) and *.py,*.txt and **/*.py",
        "#1 @name 50% $5 1,000.50 10:30 v1.2.3 ~5 1/2",
        "main.py, /usr/bin/python3 and C:\\temp\\_x_",
        "x < y > z, vector<int>, <T>, a <b and c> d",
        "items[0][1] and [1] and [x](y z) and f(x)[2]",
        "[[ həloʊ ]] [Kokoro](/kˈOkəɹO/) [pause:0.5s]",
        "$5 and $6, $5-$6, US$5, $PATH:$HOME, $a $b, ${x}, 5$ or 6$, $big deal$",
        "unknown &thing; & more &#; &#x; &; &timestamp; &notit; R&copying;",
        "a <!-- b <i c <! d -->",
        "example.com is fine",
        "→ ½ ² © ™ ♯ ①",
        "\\*no emphasis\\*",
        "أهلا *",
        "\x00 \ud83d \ufffd",
    ],
)
def test_what_is_not_understood_stays(text: str) -> None:
    assert spoken(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("**bold** *it* ***both*** __strong text__ _u_ ~~gone~~", "bold it both strong text u gone"),
        ("**bold *inner* more**, (*x*) and “*y*”.", "bold inner more, (x) and “y”."),
        ("这是**粗体**文字", "这是粗体文字"),
        ("`a_b*c*` and ``x`` **`foo`**", "a_b*c* and x foo"),
        ('[text](https://a.b/c_(d) "t") ![alt](x.png) [*it*](u)', "text alt it"),
        ("## Heading ##", "Heading."),
        ("# C#", "C#"),
        ("# Why?", "Why?"),
        ("> quoted\n> > twice", "quoted\ntwice"),
        ("- one\n* two.\n+ [x] three\n• four", "one.\ntwo.\nthree.\nfour."),
        ("1. one\n2) two", "1. one.\n2) two."),
        ("- 項目一\n- 項目二。", "項目一。\n項目二。"),
        ("| a | b |\n|---|:-:|\n| 1 | yes |", "a, b.\n1, yes."),
        ("above\n---\n* * *\n===\nbelow", "above\nbelow"),
        ("```python\nx = *a*\n```\n*b*", "x = *a*\nb"),
        ('<p>a <b>bold</b><br/>new <a href="x">link</a></p>', "a bold\nnew link"),
        ("<details><summary>More</summary>is here</details><p>a</p>b", "More\nis here\na\nb"),
        (r"so $x^2 = y$, $$a_1$$ and \( b \) or \[c\], $n$.", "so x^2 = y, a_1 and b or c, n."),
        ("in $O(n)$ if $p < 0.05$, or for $5 and 6$.", "in O(n) if p < 0.05, or for $5 and 6$."),
        ("\\[\nx = 1\n\\]\n$$\ny\n$$", "x = 1\ny"),
        ("R&amp;D &lt;3", "R&D <3"),
        ("&copy; 5&nbsp;&euro; &#8217;&#x2014;&hellip; a&#10;b &#0; x", "© 5 € ’—… a b \ufffd x"),
        ("one<!-- not - said --> two", "one two"),
        ("Hi🙂there 👨‍👩‍👧! I ❤️ you 🇩🇪.", "Hi there! I you."),
        ("1️⃣ first", "1 first"),
        ("🙂 👍🏽", ""),
    ],
)
def test_what_is_understood_is_read_out(text: str, expected: str) -> None:
    assert spoken(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("See https://www.example.com/a-b?x=1.", "See example dot com slash a-b."),
        ("(http://localhost:8000/v1/models)", "(localhost:8000 slash v1 slash models)"),
        (
            "https://en.wikipedia.org/wiki/A_(b), or www.a.de!",
            "en dot wikipedia dot org slash wiki slash A_(b), or a dot de!",
        ),
        ("请看https://a.com/b。好", "请看a dot com slash b。好"),
        ("Mail ann.lee@example.co.uk.", "Mail ann dot lee at example dot co dot uk."),
        ("<https://a.de>", "<a dot de>"),
        ("user@host", "user@host"),
        ("https://ann:secret@a.de:8080/b", "a dot de:8080 slash b"),
    ],
)
def test_addresses(text: str, expected: str) -> None:
    assert spoken(text) == expected


def test_addresses_in_the_words_of_the_language() -> None:
    assert spoken_url("https://a.de/b", "de-AT") == "a Punkt de Schrägstrich b"
    assert spoken("x@y.fr", "fr") == "x arobase y point fr"
    assert spoken_email("x@y.jp", "ja") == "x at y dot jp"


def test_the_end_of_a_long_path_is_left_out() -> None:
    assert spoken_url("https://a.com/docs/4f9d8a7b6c5d4e3f2a1b0c9d8e7f6a5b4c3d2e1f/x#y") == "a dot com slash docs"
    assert spoken_url("https://a.com/sch%C3%B6n/%00") == "a dot com slash schön slash %00"


HOSTILE = [
    "$", "$a", "$a ", "$$a", "\\(", "\\(a", "\\[a",
    "<!--", "<!-- a", "<!-- -", "&a", "&#1", "&#x", "&a;",
    "*", "*a", "**a ", "_", "_a ", "__a", "~~a", "`", "`a", "``a`", "[", "[a]", "[a](", "![", "<", "<a ", "<a b=", '<a b="', "&", "http://",
    "www.", "a@", "a.", "a@b.", "🙂", "🙂 ", "\u200d", "#", "# ", "> ", "- ", "| ", "--", "[[", "[[ a", "(", "\\*",
]  # fmt: skip


@pytest.mark.parametrize("unit", HOSTILE)
def test_hostile_lines_are_little_work(unit: str) -> None:
    assert grows_like_the_text(spoken, unit, size=5_000)
