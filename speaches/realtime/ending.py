"""Do the words sound as if the speaker had finished? Rules only, over a partial transcript.

Punctuation counts in every language: a recogniser writes it by what it expects to come, and by how the voice fell. For some languages there
are also words that lead on ("and", "the", "um"), and words that are the whole answer ("yes", "stop", "thank you").
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

LOOKED_AT = 80  # characters at the end of a transcript: more than any word, command or phone number has
NEUTRAL = 0.5
STATEMENT, EXCLAMATION, QUESTION = 0.85, 0.9, 0.95  # a recogniser also puts a full stop where the audio just ends
WHOLE_NUMBER = 10  # digits; a dictated number that has fewer is likely to go on

_QUOTES = "\"'”’»›)]}」』 \t\r\n"
_UNFINISHED = re.compile(r"(?:\.\.|…|[-–—~,:;、，；：،])$")
_FINISHED = {
    **dict.fromkeys(".。．।", STATEMENT),
    **dict.fromkeys("!！", EXCLAMATION),
    **dict.fromkeys("?？؟", QUESTION),
}
_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*['’]?")
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")
_GROUP = re.compile(_NUMBER.pattern + r"|[^\W\d_]+")  # "555-0123" is two numbers


@dataclass(frozen=True)
class Ways:
    """How a language goes on and ends. All in lower case, with straight apostrophes."""

    leading_on: frozenset[str]
    """Hardly ever the last word of a sentence, whatever a recogniser puts after it."""
    open: frozenset[str]
    """Seldom the last word; but one a sentence may end with."""
    fillers: frozenset[str]
    """What is said while thinking."""
    whole: frozenset[str]
    """Complete when nothing else was said."""
    digits: frozenset[str]
    """Of numbers that are dictated figure by figure."""


def _set(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _phrases(text: str) -> frozenset[str]:
    return frozenset(" ".join(phrase.split()) for phrase in text.split(","))


WAYS = {
    "en": Ways(
        leading_on=_set("""
            and or but because cause if the a an my your our their than nor whether although though unless until
            while since i'm we're you're mr mrs ms dr
        """),
        open=_set("""
            so to for with in on at of from by about into onto over like that then also just when where what who
            which how why is are was were be can could will would should may might must do does did have has had
            not very really more this these those as i we he she they his her its it's that's there's i'll we'll
            i'd let's well actually basically maybe please between without through during before after
        """),
        fillers=_set("um uh uhm umm uhh erm er ah eh hmm hm mm mhm"),
        whole=_phrases("""
            stop, yes, no, yeah, yep, nope, okay, ok, sure, thanks, thank you, thank you very much, right,
            correct, exactly, hello, hi, hey, bye, goodbye, good, great, fine, next, continue, go on, go ahead,
            cancel, pause, wait, help, repeat, stop it, stop please, please stop, yes please, no thanks, no
            thank you, never mind, nevermind, of course, that's all, that's it, that's enough, not now
        """),
        digits=_set("zero oh one two three four five six seven eight nine double triple"),
    ),
    "de": Ways(
        leading_on=_set("""
            und oder aber weil wenn dass ob den dem des ein eine einen einem einer eines mein meine meinen
            meinem meiner dein deine deinen unser unsere für ohne gegen zum zur im vom beim ins ans sondern
            obwohl sowie bzw
        """),
        open=_set("""
            der die das als also denn damit bevor nachdem bis bei mit von in an auf aus nach um vor über unter
            durch zu zwischen seit ich wir er sie es wie wo was wer wann warum welche ist sind war bin hat habe
            haben kann will möchte soll muss sehr auch noch am sein ihr ihre dann eigentlich vielleicht
        """),
        fillers=_set("äh ähm ehm öh öhm hm hmm mhm tja naja"),
        whole=_phrases("""
            ja, nein, doch, stopp, stop, halt, okay, ok, danke, bitte, danke schön, dankeschön, vielen dank,
            genau, richtig, stimmt, weiter, abbrechen, hallo, hi, tschüss, auf wiedersehen, klar, gut, gerne,
            gern, super, fertig, hilfe, warte, pause, ja bitte, ja gerne, nein danke, schon gut, das war's, das
            ist alles, hör auf
        """),
        digits=_set("null eins ein zwei zwo drei vier fünf sechs sieben acht neun"),
    ),
    "es": Ways(
        leading_on=_set("""
            y e o u pero porque que el la los las un una unos unas mi tu su mis tus sus nuestro nuestra de del a
            al con en por para sin sobre desde hasta entre hacia aunque si sino cuando donde como ni
        """),
        open=_set("""
            lo me te se le es son era está están muy más pues entonces bueno cual quien yo ha he hay tengo
            quiero puedo también no tan
        """),
        fillers=_set("eh em ehm este mmm mm hm hmm ah"),
        whole=_phrases("""
            sí, si, no, para, alto, basta, stop, gracias, muchas gracias, vale, claro, okay, ok, de acuerdo,
            hola, adiós, hasta luego, continúa, sigue, siguiente, cancela, cancelar, espera, ayuda, correcto,
            exacto, bien, bueno, perfecto, por favor, sí por favor, no gracias, ya está, eso es todo
        """),
        digits=_set("cero uno dos tres cuatro cinco seis siete ocho nueve"),
    ),
    "fr": Ways(
        leading_on=_set("""
            et ou mais que car le la les un une des du de d' l' j' c' qu' n' s' m' t' mon ma mes ton ta tes ses
            notre votre leur leurs à au aux avec dans par chez vers je ne puisque lorsque parce quoique
        """),
        open=_set("""
            donc si pour sans sur sous en entre depuis avant après qui quand où comme très plus est sont était
            suis ai a ont tu il elle on nous vous ils elles me te se c'est j'ai alors aussi son sa peux veux
            voudrais
        """),
        fillers=_set("euh heu euhm hum hm hmm ben bah"),
        whole=_phrases("""
            oui, non, si, stop, arrête, arrêtez, merci, merci beaucoup, d'accord, okay, ok, bonjour, salut, au
            revoir, bien, très bien, continue, continuez, suivant, annule, annulez, attends, attendez, voilà,
            exactement, exact, super, parfait, pause, s'il vous plaît, s'il te plaît, oui merci, non merci, oui
            s'il vous plaît, aide, aidez moi, c'est tout, ça suffit
        """),
        digits=_set("zéro un deux trois quatre cinq six sept huit neuf"),
    ),
}


def likelihood_of_end(text: str, language: str | None = None) -> float:
    """How likely somebody who has said this so far has finished: 0 surely not, 1 surely, 0.5 where nothing tells.

    Args:
        text: A transcript of the turn so far, as the recogniser wrote it.
        language: ISO 639-1 or BCP 47. For one that is not in `WAYS`, and for None, only punctuation and figures count.
    """
    tail = text[-LOOKED_AT:].rstrip(_QUOTES)
    words = [word.replace("’", "'").casefold() for word in _WORD.findall(tail)]
    if not words:
        return NEUTRAL
    ways = WAYS.get((language or "").split("-")[0].casefold())
    if _UNFINISHED.search(tail):
        return 0.1
    mark = _FINISHED.get(tail[-1])
    by_words = None if ways is None else _by_words(words, mark, ways, whole=len(text) <= LOOKED_AT)
    if by_words is not None:
        return by_words
    figures = _figures(tail, ways)
    if figures and figures < WHOLE_NUMBER:
        return 0.15
    return NEUTRAL if mark is None else mark


def combined(words: float, sound: float) -> float:
    """One likelihood from what the words say and what a model hears in the voice. A neutral one leaves the other as it is."""
    odds = sum(math.log(value / (1 - value)) for value in (min(max(words, 0.02), 0.98), min(max(sound, 0.02), 0.98)))
    return 1 / (1 + math.exp(-odds))


def _by_words(words: list[str], mark: float | None, ways: Ways, *, whole: bool) -> float | None:
    last = words[-1]
    if last in ways.fillers:
        return 0.05
    if whole and " ".join(words) in ways.whole:
        return 1.0
    if last not in ways.leading_on and last not in ways.open:
        return None
    if mark is None or (len(words) == 1 and mark < QUESTION):
        return 0.05 if last in ways.leading_on else 0.15
    if last in ways.leading_on:
        return 0.2
    return None  # "I think so.", "What are you looking for?"


def _figures(tail: str, ways: Ways | None) -> int:
    """How many figures of a dictated number the text ends with; 0 for none, and for one said at once ("2024", "3.50", "10:30")."""
    groups: list[int] = []
    for word in reversed(_GROUP.findall(tail.casefold())):
        if _NUMBER.fullmatch(word):
            groups.append(sum(character.isdigit() for character in word))
        elif ways is not None and word in ways.digits:
            groups.append(1)
        else:
            break
    return sum(groups) if len(groups) > 1 else 0
