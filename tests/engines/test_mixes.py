"""Mixes of voices, as they are written."""

from __future__ import annotations

import time

import pytest

from speaches.engines.mixes import Ingredient, canonical, heaviest, parse, shares
from speaches.errors import InvalidRequest

KNOWN = ("af_heart", "af_sky", "am_adam", *(f"v{number}" for number in range(200)))


def mixed(name: str) -> tuple[Ingredient, ...]:
    mix = parse(name, KNOWN)
    assert mix is not None
    return mix


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("af_heart+am_adam", "af_heart(1)+am_adam(1)"),
        ("af_heart(2)+af_sky(1)", "af_heart(2)+af_sky(1)"),
        ("af_heart(2)+af_sky", "af_heart(2)+af_sky(1)"),
        (" af_heart (2) + af_sky( 1.50 ) ", "af_heart(2)+af_sky(1.5)"),
        ("af_heart(.25)+af_sky(100)", "af_heart(0.25)+af_sky(100)"),
        ("af_heart(0.333333333333)+af_sky", "af_heart(0.333333)+af_sky(1)"),
        ("af_heart(0.5)", "af_heart"),
        ("af_sky(0.000001)+af_heart", "af_sky(0.000001)+af_heart(1)"),
    ],
)
def test_a_mix_has_one_way_to_write_it_that_means_the_same(name: str, wanted: str) -> None:
    mix = mixed(name)
    assert canonical(mix) == wanted
    if len(mix) > 1:
        assert parse(wanted, KNOWN) == mix


def test_shares_are_one_together() -> None:
    assert shares(mixed("af_heart(3)+af_sky")) == [0.75, 0.25]
    assert sum(shares(mixed("+".join(f"v{number}({number % 7 + 0.3})" for number in range(100))))) == pytest.approx(1)


def test_the_heaviest_voice_leads_and_of_equals_the_first() -> None:
    assert heaviest(mixed("af_heart+am_adam(1.5)")) == "am_adam"
    assert heaviest(mixed("am_adam+af_heart")) == "am_adam"


@pytest.mark.parametrize("name", ["af_heart", "nobody", "", "en-us+f2", "en-us+", "+", "(2)", "nobody(2)", "a(b)+c(d)"])
def test_a_name_without_any_known_voice_is_no_mix(name: str) -> None:
    assert parse(name, KNOWN) is None


@pytest.mark.parametrize(
    "weight", ["0", "0.0", "-1", "101", "100.1", "nan", "inf", "1e1", "", " ", "two", "1,5", "١", "0.0000001"]
)
def test_a_weight_is_a_number_above_0_up_to_100(weight: str) -> None:
    with pytest.raises(InvalidRequest, match="above 0 up to 100") as refused:
        parse(f"af_heart+af_sky({weight})", KNOWN)
    assert refused.value.message.startswith(f"The weight of 'af_sky' is {weight!r}.")
    assert (refused.value.status, refused.value.param) == (400, "voice")


@pytest.mark.parametrize(
    "name", ["af_heart+", "+af_heart", "af_heart++af_sky", "af_heart+(2)", "af_heart(2+af_sky", "af_heart+af_sky)2("]
)
def test_every_part_has_a_name_and_its_brackets(name: str) -> None:
    with pytest.raises(InvalidRequest, match="no name, or its brackets don't match"):
        parse(name, KNOWN)


def test_an_unknown_voice_in_a_mix_is_named_with_those_there_are() -> None:
    with pytest.raises(InvalidRequest, match=r"Unknown voice 'nobody' in a mix. This model has: af_heart, af_sky,"):
        parse("af_heart+nobody(2)", KNOWN)


def test_a_voice_is_in_a_mix_once() -> None:
    with pytest.raises(InvalidRequest, match="'af_sky' is in the mix more than once"):
        parse("af_sky+af_heart+af_sky(2)", KNOWN)


def test_a_mix_has_at_most_100_voices() -> None:
    assert len(mixed("+".join(KNOWN[3:103]))) == 100
    with pytest.raises(InvalidRequest, match="more than 100 voices"):
        parse("+".join(KNOWN[3:104]), KNOWN)


@pytest.mark.parametrize(
    "name",
    ["+" * 1_000_000, "af_heart" + "(" * 1_000_000, "af_heart(" + "9" * 1_000_000 + ")", "af_heart+" + "x" * 1_000_000],
)
def test_a_wall_of_signs_is_refused_at_once(name: str) -> None:
    start = time.process_time()
    try:
        assert parse(name, KNOWN) is None
    except InvalidRequest as refused:
        assert len(refused.message) < 5000
    assert time.process_time() - start < 1
