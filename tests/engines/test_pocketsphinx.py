from __future__ import annotations

import sys
import threading
import time

import numpy as np

from speaches.engines.base import SAMPLE_RATE, DecodeOptions, Window
from speaches.engines.pocketsphinx import PocketSphinx
from tests.recordings import noise, recording, say, silence

COUNTING = "one two three four five"


def counted(pause: float = 0.5) -> Window:
    return Window(recording(say(COUNTING, "en-us+f5", 140), pause=pause), DecodeOptions(words=True))


def test_it_hears_a_voice_that_counts(sphinx: PocketSphinx) -> None:
    (heard,) = sphinx.decode([counted()])
    words = heard.segments[0].text.split()
    assert sum(word in words for word in COUNTING.split()) >= 4
    assert heard.language == "en"


def test_it_hears_the_same_again_and_after_other_sounds(sphinx: PocketSphinx) -> None:
    (first,) = sphinx.decode([counted()])
    sphinx.decode([Window(noise(2, level=0.5))])
    (second,) = sphinx.decode([counted()])
    assert [segment.text for segment in second.segments] == [segment.text for segment in first.segments]


def test_words_have_times_inside_the_window(sphinx: PocketSphinx) -> None:
    window = counted(pause=1.0)
    (segment,) = sphinx.decode([window])[0].segments
    assert segment.text == "".join(word.word for word in segment.words)
    assert segment.words[0].start > 0.7
    assert segment.words[-1].end < len(window.samples) / SAMPLE_RATE - 0.7
    for before, after in zip(segment.words, segment.words[1:], strict=False):
        assert before.start < before.end <= after.start + 0.011
    assert all(0 <= word.probability <= 1 for word in segment.words)


def test_words_are_given_only_where_they_are_asked_for(sphinx: PocketSphinx) -> None:
    (segment,) = sphinx.decode([Window(counted().samples)])[0].segments
    assert segment.words == ()
    assert 0 < segment.start < segment.end


def test_what_is_no_speech_does_no_harm(sphinx: PocketSphinx) -> None:
    for samples in (silence(0), silence(1 / SAMPLE_RATE), silence(0.05), silence(3), np.ones(8000, np.float32)):
        (heard,) = sphinx.decode([Window(samples)])
        assert len(heard.segments) <= 1
    assert sphinx.decode([Window(silence(3))])[0].segments == ()


def test_other_threads_run_while_it_listens(sphinx: PocketSphinx) -> None:
    """A call of the library holds the GIL; it must never be the whole window at once. Told by the process's own time: others run too."""
    stop, gaps = threading.Event(), [0.0]

    def ticking() -> None:
        before = time.process_time()
        while not stop.is_set():
            now = time.process_time()
            gaps.append(now - before)
            before = now
            time.sleep(0)  # give the GIL away; how long until it comes back is what is measured

    thread = threading.Thread(target=ticking)
    thread.start()
    started = time.process_time()
    sphinx.decode([Window(np.tile(counted().samples, 3)[: 7 * SAMPLE_RATE])])
    took = time.process_time() - started
    stop.set()
    thread.join()
    assert len(gaps) > 50
    assert max(gaps) < max(0.5, took / 2), f"no other thread ran for {max(gaps):.2f} of {took:.2f} s"
    assert sys.getswitchinterval() < 0.1
