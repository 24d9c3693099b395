from __future__ import annotations

import random

import numpy as np
import pytest

from speaches.text.markup import LONGEST_PAUSE, Part, Pause
from speaches.text.sentences import FIRST_CLAUSE, LONGEST, Splitter, pieces
from speaches.text.spoken import spoken
from speaches.text.weights import weight
from tests.text.work import grows_like_the_text

LETTERS = "aB1 .,!?;:—\n\t\"')]…。！、」é🙂"


def bare(text: str) -> str:
    """Without white space, which is all that may get lost."""
    return "".join(text.split())


def rest(text: str) -> list[str]:
    """The pieces of a text that is not the first one spoken, so that no first clause is taken from it."""
    return [str(piece) for piece in pieces(f"So. {text}")][1:]


# --- Sentences ---


def test_a_sentence_is_a_piece() -> None:
    assert rest("It rains. Does it? It does!") == ["It rains.", "Does it?", "It does!"]


def test_text_without_an_end_mark_is_a_piece_too() -> None:
    assert rest("It rains. And then") == ["It rains.", "And then"]


def test_quotes_and_brackets_stay_with_their_sentence() -> None:
    assert rest('He said "No." She left (at last.) Then') == ['He said "No."', "She left (at last.)", "Then"]


def test_several_marks_end_one_sentence() -> None:
    assert rest("What?! Really... Yes") == ["What?!", "Really...", "Yes"]


def test_a_line_ends_a_sentence() -> None:
    assert rest("A heading\nAnd a line\n\n\nA paragraph") == ["A heading", "And a line", "A paragraph"]


@pytest.mark.parametrize(
    "text",
    [
        "Dr. Smith met Mrs. Jones.",
        "Use fruit, e.g. apples, i.e. food.",
        "The U.S. army and J. S. Bach.",
        "See Fig. 3 and pp. 4 of Vol. 5.",
        "Cats vs. dogs etc. and so on.",
        "Das ist gut bzw. nicht.",
    ],
)
def test_abbreviations_end_nothing(text: str) -> None:
    assert rest(text) == [text]


@pytest.mark.parametrize(
    "text", ["Pi is 3.14159 or so.", "It costs 1,234.50 dollars.", "Go to example.com now.", "Version 1.2.3 is out."]
)
def test_a_mark_inside_a_word_or_number_ends_nothing(text: str) -> None:
    assert rest(text) == [text]


def test_east_asian_marks_need_no_space() -> None:
    assert rest("今日は晴れです。明日は？「雨です。」終わり") == [
        "今日は晴れです。",
        "明日は？",
        "「雨です。」",
        "終わり",
    ]


@pytest.mark.parametrize("text", ["", " ", "\n\n\t ", "\u3000"])
def test_nothing_to_say_is_no_piece(text: str) -> None:
    assert list(pieces(text)) == []


def test_marks_alone_are_a_piece_for_the_engine_to_be_silent_about() -> None:
    assert list(pieces("...")) == ["..."]


# --- The first piece ---


def test_the_first_piece_is_a_clause_so_that_speech_starts_soon() -> None:
    text = "When the weather is fine, we walk along the river, and talk. Then home."
    assert list(pieces(text)) == ["When the weather is fine,", "we walk along the river, and talk.", "Then home."]


def test_a_clause_that_is_too_short_to_speak_on_its_own_is_not_cut_off() -> None:
    assert list(pieces("Well, we walk along the river.")) == ["Well, we walk along the river."]


def test_a_short_sentence_is_spoken_whole() -> None:
    assert list(pieces("Hello world. How are you today, my friend?")) == [
        "Hello world.",
        "How are you today, my friend?",
    ]


def test_a_comma_at_the_end_is_no_place_to_cut() -> None:
    assert list(pieces("Once upon a time there was,")) == ["Once upon a time there was,"]


# --- Long sentences ---


def test_a_long_sentence_is_cut_at_its_last_clause_that_fits() -> None:
    clause = "and on it goes with some words more, "
    found = rest(clause * 20)
    assert len(found) > 2
    assert all(piece.endswith(",") and len(piece) <= LONGEST for piece in found)


def test_without_clauses_it_is_cut_between_words() -> None:
    found = rest("word " * 300)
    assert all(set(piece.split()) == {"word"} and len(piece) <= LONGEST for piece in found)
    assert len(found) <= 1 + 5 * 300 // (LONGEST - 5)


def test_without_words_it_is_cut_anywhere() -> None:
    assert list(map(len, rest("x" * 1000))) == [300, 300, 300, 100]


# --- All texts ---


@pytest.mark.parametrize("seed", range(20))
def test_nothing_is_dropped_added_or_too_long(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for _ in range(50):
        weights = rng.dirichlet(np.ones(len(LETTERS)) * 0.3)
        text = "".join(rng.choice(list(LETTERS), int(rng.integers(0, 1500)), p=weights))
        found = [str(piece) for piece in pieces(text, normalise=False)]
        assert bare("".join(found)) == bare(text)
        assert all(piece == piece.strip() and 0 < weight(piece) <= LONGEST for piece in found)


HOSTILE = [
    "One more sentence. ", "word ", "x", ".", "!", ",", '."', "\n", " ", "\r\n", "。", ".)", "?! ", "A. ", "\n ", "1. ", "- a\n", "| a",
    "[", "[[ a", "[pause:", "[pause:1", "[a](", "![", "]", "*", "*a ", "**a", "_", "_a", "~~a", "`", "`a", "<", "<a ", "<a b=", "```\n",
    "#", ">", "http://", "www.a", "a@", "a.b@c.", "&amp;", "5", "今", "é\u0301", "e\u0301\u0302", "\u200d",
    "🇩🇪", "👩‍👩‍👧", "🙂, ", "\ud83d",
    "\x00",
]  # fmt: skip


@pytest.mark.parametrize("unit", HOSTILE)
def test_work_grows_with_the_text_and_not_with_its_square(unit: str) -> None:
    assert grows_like_the_text(lambda text: list(pieces(text)), unit, size=5_000)


@pytest.mark.parametrize("unit", HOSTILE)
def test_of_a_megabyte_the_first_pieces_come_at_once(unit: str) -> None:
    splitter = _Watched()
    source = unit * (1_000_000 // len(unit))
    for start in range(0, len(source), 512):
        splitter.push(source[start : start + 512])
        assert splitter.held() < 2_500
        if start > 20_000:
            break


class _Watched(Splitter):
    def held(self) -> int:
        """Characters that it keeps."""
        return len(self._text)


@pytest.mark.parametrize(
    "unit", ["One more sentence. ", "word ", "x", ".", '."', "。", "?! ", "A. ", "[[ ", "é\u0301", "\ud83d"]
)
def test_of_a_long_text_nothing_is_lost(unit: str) -> None:
    text = unit * (30_000 // len(unit)) + "end"
    assert bare("".join(str(piece) for piece in pieces(text, normalise=False))) == bare(text)


def test_pieces_are_made_one_at_a_time() -> None:
    found = pieces("One. Two. Three.")
    assert next(found) == "One."
    assert next(found) == "Two."
    assert FIRST_CLAUSE < LONGEST


# --- Languages ---


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Am 3. Oktober kam Dr. Meier, d. h. spät. Gut.", ["Am 3. Oktober kam Dr. Meier, d. h. spät.", "Gut."]),
        ("„Ja.“ Dann ging er z. B. heim.", ["„Ja.“", "Dann ging er z. B. heim."]),
        ("¿Qué tal? ¡Bien! El Sr. Pérez vive aquí.", ["¿Qué tal?", "¡Bien!", "El Sr. Pérez vive aquí."]),
        ("« Oui ! » dit-il. « Non. » M. Dupont part.", ["« Oui ! » dit-il.", "« Non. »", "M. Dupont part."]),
        ("今天天气很好！我们走吧。", ["今天天气很好！", "我们走吧。"]),
        ("안녕하세요. 반갑습니다!", ["안녕하세요.", "반갑습니다!"]),
        ("مرحبا. كيف حالك؟ أنا بخير.", ["مرحبا.", "كيف حالك؟", "أنا بخير."]),
        ("नमस्ते दुनिया। आप कैसे हैं?", ["नमस्ते दुनिया।", "आप कैसे हैं?"]),
        ("Привет. Как дела? Хорошо…", ["Привет.", "Как дела?", "Хорошо…"]),
        ("Wait... what? Well… no. Yes.", ["Wait... what?", "Well… no.", "Yes."]),
        ('"Why?" she asked. "No!"', ['"Why?" she asked.', '"No!"']),
        ("In 2024. No. 5 is no. No. Yes", ["In 2024.", "No. 5 is no.", "No.", "Yes"]),
        ("At 10:30, v1.2.3 (etc.) cost $1,000.50. Ok", ["At 10:30, v1.2.3 (etc.) cost $1,000.50.", "Ok"]),
        ("Am 3. 10. 2024 um zehn. Gut.", ["Am 3. 10. 2024 um zehn.", "Gut."]),
        (
            "Er ist der 1. Mann in der 2. Liga. Ich nahm 2. Gut.",
            ["Er ist der 1. Mann in der 2. Liga.", "Ich nahm 2.", "Gut."],
        ),
        ("‚Ja.‘ »Nein.« ›Gut.‹ Ende.", ["‚Ja.‘", "»Nein.«", "›Gut.‹", "Ende."]),
        (
            "「はい。」と言った。「いいえ！」って。「うん。」終わり。",
            ["「はい。」と言った。", "「いいえ！」って。", "「うん。」", "終わり。"],
        ),
        ("Das sind 5 Mio. Euro. Gut.", ["Das sind 5 Mio. Euro.", "Gut."]),
        ("Ул. Ленина, 5 тыс. рублей. Да.", ["Ул. Ленина, 5 тыс. рублей.", "Да."]),
        ("Los EE. UU. ganan. Sí.", ["Los EE. UU. ganan.", "Sí."]),
        ("שלום. מה שלומך?", ["שלום.", "מה שלומך?"]),
    ],
)
def test_sentences_of_many_languages(text: str, expected: list[str]) -> None:
    assert rest(text) == expected


def test_the_first_clause_of_chinese_is_as_long_to_speak_as_one_of_english() -> None:
    assert list(pieces("今天天气很好，我们去公园。")) == ["今天天气很好，", "我们去公园。"]
    assert list(pieces("好，我们去公园散步吧。")) == ["好，我们去公园散步吧。"]


def test_thai_is_cut_at_its_spaces() -> None:
    clause = "วันนี้อากาศดีมาก"
    found = rest(" ".join([clause] * 60))
    assert all(set(piece.split()) == {clause} and weight(piece) <= LONGEST for piece in found)
    assert next(pieces("สวัสดีครับผมชื่อสมชายนะ วันนี้อากาศดี")) == "สวัสดีครับผมชื่อสมชายนะ"


def test_thai_without_spaces_is_cut_between_what_one_sees_as_characters() -> None:
    for piece in rest("เก้าอี้ไม้น้ำ" * 100)[1:]:
        assert piece[0] in "เก้าอี้ไม้น้ำ".replace("้", "").replace("ี", "").replace("ำ", "")


@pytest.mark.parametrize("character", ["👩‍👩‍👧", "🇩🇪", "👍🏽", "e\u0301\u0302", "\ud83d\ude00"])
def test_characters_are_kept_whole(character: str) -> None:
    found = [str(piece) for piece in pieces(character * 500, normalise=False)]
    assert len(found) > 1
    assert all(piece.replace(character, "") == "" for piece in found)


def test_numbers_and_addresses_are_kept_whole_where_there_are_no_spaces() -> None:
    for lead in range(60, 80):
        found = rest("今" * lead + "3.14159和https://example.com/path" + "天" * 80)
        assert sum("3.14159" in piece for piece in found) == 1
        assert sum("example dot com slash path" in piece for piece in found) == 1


@pytest.mark.parametrize("text", ["今天天气很好" * 100, "1234567 " * 100, "BBC " * 300, "%" * 1000, "カタカナ" * 200])
def test_pieces_are_shorter_where_a_character_has_many_sounds(text: str) -> None:
    assert max(map(len, rest(text))) <= LONGEST / 1.7
    assert all(weight(piece) <= LONGEST for piece in rest(text))


# --- Lines ---


def test_a_long_line_that_goes_on_with_a_small_letter_was_wrapped() -> None:
    assert rest("The quick brown fox jumps over the lazy dog\nand goes home.") == [
        "The quick brown fox jumps over the lazy dog and goes home."
    ]
    assert rest("Roses are red\nviolets are blue") == ["Roses are red", "violets are blue"]


def test_items_headings_and_rows_are_sentences_of_their_own() -> None:
    text = "# Fruit\n- apples\n- pears, too.\n1. one\n2. two\n| a | b |\n|---|---|\n| 1. x | 2 |\n---\nEnd"
    assert rest(f"\n{text}") == ["Fruit.", "apples.", "pears, too.", "1. one.", "2. two.", "a, b.", "1. x, 2", "End"]


def test_emphasis_over_several_sentences() -> None:
    assert rest("**Note this. It matters.** Yes") == ["Note this.", "It matters.", "Yes"]


def test_lines_of_code_are_no_markdown() -> None:
    assert rest("See:\n```python\n__all__ = [*a, *b]\n# no\n```\nSo *there*") == [
        "See:", "__all__ = [*a, *b]", "# no", "So there"
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["🙂", "🙂🙂 👩‍👩‍👧\n🇩🇪", "---", "***", "```\n```"])
def test_of_signs_alone_nothing_is_spoken(text: str) -> None:
    assert list(pieces(text)) == []


# --- Pauses and phonemes ---


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("[pause:0.5s]", 0.5), ("[pause: 500ms]", 0.5), ("[pause:2]", 2), ("[PAUSE:.25 S]", 0.25), ("[pause:1.]", 1), ("[pause:0]", 0),
        ("[pause:31s]", LONGEST_PAUSE), ("[pause:999999999]", LONGEST_PAUSE),
    ],
)  # fmt: skip
def test_pauses(written: str, seconds: float) -> None:
    assert list(pieces(f"One {written} two.")) == ["One", Pause(seconds), "two."]
    assert list(pieces(f"One {written} two.", normalise=False)) == ["One", Pause(seconds), "two."]


@pytest.mark.parametrize(
    "written",
    [
        "[pause]",
        "[pause:]",
        "[pause:-1s]",
        "[pause:1m]",
        "[pause:1e3]",
        "[pause:nan]",
        "[pause:1.2.3]",
        "[pause:1",
        "[pause 1s]",
    ],
)
def test_what_is_no_pause_is_text(written: str) -> None:
    assert list(pieces(f"One {written} two.")) == [f"One {written} two."]


def test_pauses_alone_and_in_a_row() -> None:
    assert list(pieces("[pause:1][pause:2]")) == [Pause(1), Pause(2)]


def test_a_pause_in_emphasis() -> None:
    assert list(pieces("**One [pause:1s] two.**")) == ["One", Pause(1), "two."]


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("notation", ["[[ həˈloʊ. wɜːld, ə b ]]", "[New. York, US](/nˈu. jˈɔɹk, x/)"])
def test_phonemes_are_kept_whole(notation: str, normalise: bool) -> None:
    for lead in range(0, 300, 7):
        found = list(pieces("word " * (lead // 5) + notation + " and so on." * 20, normalise=normalise))
        assert sum(notation in str(piece) for piece in found) == 1


def test_a_sentence_of_phonemes_is_one_piece() -> None:
    notation = f"[[ {'a b. ' * 60}]]"
    assert notation in list(pieces(f"Say {notation} now."))


# --- Text that is still being written ---

WRITTEN = (
    'Hello **world. This is** bold, with a [link. here](https://a.com/x.y) and `code. x`. Then https://example.com/a?x=1, ok. "Why?" she '
    "said on 3. Oktober. No. 5, e.g. Dr. Smith.\n\n# Head\n- one\n- two. [pause:0.5s] go [[ həˈloʊ ]] [Kokoro](/kˈOkəɹO/)!\n"
    "| a | b |\n|---|---|\n| 1. x | 2 |\n```py\nx = a*b*c. y\n```\nend *it* _u_ snake_case <b>x</b><br>y 🙂 今日は。「雨です。」明日は？ [a"
)
SCRAPS = [
    *LETTERS,
    *"*_`[]()<>/b~#|-：ก ا",
    "word ",
    "[pause:1s]",
    "http://a.b/c,d ",
    "[[ a ]]",
    "**b. c**",
    "Dr. ",
    "3. Okt",
    "…)\na",
    "3. 10. 20",
    "der 1. X",
    "<!-- a. b -->",
    "」と",
    "«",
]


def deltas(text: str, chance: random.Random) -> list[str]:
    found, at = [], 0
    while at < len(text):
        found.append(text[at : at + chance.choice([1, 1, 2, 3, 5, 20, 300])])
        at += len(found[-1])
    return found


def pushed(parts: list[str], *, normalise: bool) -> list[Part]:
    splitter = Splitter(normalise=normalise)
    return [*(part for delta in parts for part in splitter.push(delta)), *splitter.finish()]


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("seed", range(25))
def test_however_a_text_comes_its_pieces_are_the_same(seed: int, normalise: bool) -> None:
    chance = random.Random(seed)
    weights = [chance.random() ** 3 for _ in SCRAPS]
    for text in (WRITTEN, "".join(chance.choices(SCRAPS, weights, k=chance.randint(0, 700)))):
        assert pushed(deltas(text, chance), normalise=normalise) == list(pieces(text, normalise=normalise))


@pytest.mark.parametrize("text", ["ก_！]_", "今*天。气*好", "ก**ก！ข**", "今~~天！气~~"])
def test_emphasis_between_characters_of_words_without_spaces_comes_the_same(text: str) -> None:
    assert pushed(list(text), normalise=True) == list(pieces(text))


@pytest.mark.parametrize("seed", range(20))
def test_the_words_of_the_pieces_are_those_of_the_spoken_text(seed: int) -> None:
    chance = random.Random(seed)
    words = [
        "one",
        "snake_case",
        "2*3*4",
        "**bold**",
        "*it*",
        "Dr.",
        "end.",
        "a,",
        "C++",
        "🙂",
        "`x_y`",
        "http://a.b/c",
        "x@y.de",
        "3.14",
        "R&D",
    ]
    text = "".join(chance.choice(words) + chance.choice([" ", " ", " ", "\n\n", "\n- "]) for _ in range(400))
    assert " ".join(str(piece) for piece in pieces(text)).split() == spoken(text).split()


def test_a_sentence_is_spoken_as_soon_as_the_next_one_begins() -> None:
    splitter = Splitter()
    assert [splitter.push(delta) for delta in ("It", " rains", ".", " D", "oes it?\n", "\n", "No")] == [
        [], [], [], ["It rains."], ["Does it?"], [], []
    ]  # fmt: skip
    assert splitter.finish() == ["No"]


def test_the_first_clause_is_spoken_as_soon_as_it_is_long_enough() -> None:
    splitter = Splitter()
    assert splitter.push("When the weather is fine, ") == []
    assert splitter.push("w") == ["When the weather is fine,"]


def test_brackets_that_are_no_links_hold_nothing_up() -> None:
    splitter = Splitter()
    assert splitter.push("See [1] there. N") == ["See [1] there."]
    assert splitter.push("o <b") == []
    assert splitter.push(" c or 2 * 3. Y") == []
    assert splitter.finish() == ["No <b c or 2 * 3.", "Y"]


def test_a_text_without_marks_is_cut_before_it_ends() -> None:
    splitter = Splitter()
    assert len(splitter.push("word " * 65)) == 1


# --- A writer who stops for a while ---


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("Hello there.", ["Hello there."]),
        ("It is late. Is it? ", ["Is it?"]),
        ("Well...", ["Well..."]),
        ("You said \u201cno.\u201d", ["You said \u201cno.\u201d"]),
        ("你好。", ["你好。"]),
        ("Hello there", []),
        ("Hello there,", []),
        ("It costs 3.", []),
        ("I met Dr.", []),
        ("Look at **this.", []),
        ("Look at [this.", []),
        ("", []),
    ],
)
def test_a_sentence_at_the_end_is_spoken_when_nothing_follows_for_a_while(text: str, spoken: list[str]) -> None:
    splitter = Splitter()
    splitter.push(text)
    assert splitter.rest() == spoken


def test_after_a_while_the_text_goes_on() -> None:
    splitter = Splitter()
    assert splitter.push("It is late.") == []
    assert splitter.rest() == ["It is late."]
    assert splitter.rest() == []
    assert splitter.push(" Good night. Sleep") == ["Good night."]
    assert splitter.finish() == ["Sleep"]
