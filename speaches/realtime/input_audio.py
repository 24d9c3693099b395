"""What the user says: the audio not yet committed, and the turn in it. Rules only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from speaches.engines.base import SAMPLE_RATE
from speaches.errors import InvalidRequest, SpeachesError
from speaches.realtime.config import SessionConfig
from speaches.realtime.fields import LOGPROBS, SemanticVad, ServerVad
from speaches.realtime.outbox import Outbox
from speaches.realtime.states import TURN, State, after
from speaches.realtime.turn import Transcript, Turn, hearing
from speaches.realtime.turns import SemanticVad as SemanticTurns
from speaches.realtime.turns import ServerVad as ServerTurns
from speaches.realtime.turns import TurnEvent, Turns
from speaches.realtime.work import MeasureEnding
from speaches.transcription.activity import FRAME_SIZE

if TYPE_CHECKING:
    from speaches.engines.base import Samples, Word

SHORTEST_MS = 100  # OpenAI refuses to commit less
LONGEST_MS = 15 * 60_000  # without turn detection: 58 MB
KEPT_MS = 10_000  # with it, while nobody speaks: for a client that commits what the detector did not take for speech
LONGEST_AHEAD_MS = 30_000  # longer turns are not heard again at each pause
SILENT = 0.15  # where no frame had more than this chance of speech there is nothing to recognise
MEASURED_MS = 8_000  # as much as a smart-turn model hears


@dataclass(frozen=True)
class Committed:
    """Audio that left the buffer."""

    turn: Turn
    seconds: float


class InputAudio:
    """The input buffer. Its caller commits and clears, and tells the client of it."""

    def __init__(self, outbox: Outbox, config: SessionConfig, *, hears_ahead: bool, has_ending_model: bool) -> None:
        from speaches.audio.buffer import SampleBuffer

        self.state = State.QUIET
        self.turn: Turn | None = None
        """The user's turn under way; without turn detection, all that is not committed."""
        self._outbox = outbox
        self._config = config
        self._hears_ahead = hears_ahead
        self._has_ending_model = has_ending_model
        self._buffer = SampleBuffer()
        self._floor = 0
        """Where the last commit ended, or the buffer was cleared."""
        self._kept = 0
        """From where on there is audio."""
        self._loudest = 0.0
        """The highest chance of speech since the floor; 1 where nobody has looked."""
        self._full = False
        self._position = 0
        """How far `Turns` is: whole frames."""
        self._turns = Turns(_detection(config))

    # --- Audio comes ---

    def heard(self, samples: Samples, probabilities: Sequence[float]) -> list[TurnEvent]:
        """More audio. Returns what it does to the user's turns.

        Raises:
            InvalidRequest: If the buffer is full. Said once; then audio is dropped until it is committed or cleared.
        """
        full = self._is_full(len(samples))
        if not full:
            self._buffer.add(samples)
        events = self._judge(probabilities)
        if self.turn is None and self._config.detection is None and self._config.transcription and len(samples):
            self.turn = self._new_turn(self._floor)
        self._trim()
        if full and not self._full:
            self._full = True
            raise InvalidRequest(
                f"The input audio buffer is full: it holds {LONGEST_MS // 60_000} minutes; commit or clear it.",
                code="input_audio_buffer_full",
            )
        return events

    def listen(self) -> None:
        """Ask for the next hypothesis where one is due. To be called when all that the last audio did is done."""
        if self.turn is not None and self._config.transcription:
            self.turn.listen(self._buffer)

    def _is_full(self, count: int) -> bool:
        longest = LONGEST_MS * SAMPLE_RATE // 1000
        return self._config.detection is None and self._buffer.end + count - self._floor > longest

    def _judge(self, probabilities: Sequence[float]) -> list[TurnEvent]:
        frames = self._buffer.end // FRAME_SIZE - self._position // FRAME_SIZE
        judged = [float(chance) for chance in probabilities][:frames] if self._config.detection is not None else []
        events = self._turns.hear(judged)
        self._turns.skip((frames - len(judged)) * FRAME_SIZE)
        self._loudest = max([self._loudest, *judged] if len(judged) == frames else [1.0])
        if self.turn is not None:
            self.turn.sounds(judged)
        self._position += frames * FRAME_SIZE
        return events

    def _trim(self) -> None:
        if self._config.detection is not None and self.turn is None:
            needed = self._turns.needed_from_ms * SAMPLE_RATE // 1000
            kept = max(self._floor, min(needed, self._buffer.end - KEPT_MS * SAMPLE_RATE // 1000))
            if kept - self._kept >= SAMPLE_RATE:
                self._kept = kept
                self._buffer.drop(kept)

    # --- Turns ---

    def start(self, start_ms: int) -> Turn:
        """Speech has begun."""
        self.state = after(TURN, self.state, "start")
        self.turn = self._new_turn(max(self._floor, self._place(start_ms)))
        self.turn.announced = True
        return self.turn

    def pause(self) -> None:
        """The user has paused, perhaps finished: find out what was said, to have it when it is needed."""
        turn, end = self.turn, self._buffer.end
        assert turn is not None
        turn.pause(self._turns.now_ms)
        wanted = self._hears_ahead or isinstance(self._config.detection, SemanticVad)
        if wanted and end - turn.start <= LONGEST_AHEAD_MS * SAMPLE_RATE // 1000:
            self._transcribe(turn, end)
        if self._has_ending_model and isinstance(self._config.detection, SemanticVad):
            first = max(turn.start, end - MEASURED_MS * SAMPLE_RATE // 1000)
            self._outbox.ask(MeasureEnding(self._buffer.take(first, end), self._turns.now_ms))

    def resume(self) -> None:
        """The pause was none."""
        assert self.turn is not None
        self.turn.forget_ahead()

    def commit(self, event: str, end_ms: int | None = None, start_ms: int | None = None) -> Committed:
        """Take the turn out of the buffer, or all of it where there is none.

        Args:
            event: Why, in the words of `TURN`.
            end_ms: Where it ends; None for all there is.
            start_ms: Where it starts, where there is no turn.

        Raises:
            InvalidRequest: If it is too little for a client to commit.
        """
        end = self._buffer.end if end_ms is None else min(self._place(end_ms), self._buffer.end)
        start = self.turn.start if self.turn else max(self._kept, self._floor, self._place(start_ms or 0))
        if event == "commit" and (end - start) * 1000 < SHORTEST_MS * SAMPLE_RATE:
            raise InvalidRequest(
                f"Error committing input audio buffer: buffer too small. Expected at least {SHORTEST_MS}ms of audio, but buffer"
                f" only has {max(0, end - start) * 1000 / SAMPLE_RATE:.2f}ms of audio.",
                code="input_audio_buffer_commit_empty",
            )
        turn = self.turn or self._new_turn(start)
        silent = event == "time out" or (event == "commit" and self.state is State.QUIET and self._loudest < SILENT)
        turn.end()
        if silent:
            turn.heard = Transcript("")
        elif turn.work_id is None:
            self._transcribe(turn, end)
        self.state = after(TURN, self.state, event)
        self._empty(end)
        if event == "commit":
            self._turns.reset()
        return Committed(turn, (end - start) / SAMPLE_RATE)

    def clear(self) -> None:
        """The client throws it all away."""
        if self.turn is not None:
            self.turn.stop_listening()
            self.turn.forget_ahead()
        self.state = after(TURN, self.state, "clear")
        self._empty(self._buffer.end)
        self._turns.reset()

    def update(self, config: SessionConfig) -> None:
        """Other settings, from now on."""
        before, self._config = self._config, config
        self._turns.update(_detection(config))
        if config.detection is None and before.detection is not None:
            self.state = after(TURN, self.state, "switch off")  # its audio stays, for the client to commit
            if self.turn is not None:
                self.turn.forget_ahead()
        elif config.detection is not None and before.detection is None and self.turn is not None:
            self.turn.stop_listening()
            self.turn = None
        if self.turn is not None:
            self.turn.hearing = hearing(config)

    # --- What is recognised ---

    def hypothesis(self, work_id: str, words: Sequence[Word], took_ms: int) -> str:
        """Returns what may be shown now of the turn under way."""
        return self.turn.hypothesis(work_id, words, took_ms) if self.turn else ""

    def heard_ahead(self, work_id: str, heard: Transcript | SpeachesError) -> list[TurnEvent] | None:
        """A Transcribe's result. None where it is not of the turn under way; else what that does to the turn."""
        turn = self.turn
        if turn is None or turn.work_id != work_id:
            return None
        turn.heard_ahead(heard)
        return self._judge_ending(turn)

    def ending(self, likelihood: float, heard_until_ms: int) -> list[TurnEvent]:
        """What a model makes of the voice before a pause."""
        turn = self.turn
        if turn is None or turn.paused_ms != heard_until_ms:
            return []
        turn.sounded(likelihood)
        return self._judge_ending(turn)

    def _judge_ending(self, turn: Turn) -> list[TurnEvent]:
        return [] if turn.paused_ms is None else self._turns.ending(turn.likely_over, turn.paused_ms)

    # --- Waiting for the user ---

    @property
    def now_ms(self) -> int:
        return self._buffer.end * 1000 // SAMPLE_RATE

    def await_speech(self, from_ms: int) -> None:
        self._turns.await_speech(from_ms)

    def stop_awaiting(self) -> None:
        self._turns.stop_awaiting()

    # --- Its own ---

    def _new_turn(self, start: int) -> Turn:
        return Turn(self._outbox, start, hearing(self._config))

    def _transcribe(self, turn: Turn, end: int) -> None:
        logprobs = LOGPROBS in (self._config.include or ())
        turn.transcribe(self._buffer.take(turn.start, end), logprobs=logprobs)

    def _empty(self, end: int) -> None:
        self.turn, self._floor, self._kept = None, end, end
        self._loudest, self._full = 0.0, False
        self._buffer.drop(end)

    def _place(self, ms: int) -> int:
        return ms * SAMPLE_RATE // 1000


def _detection(config: SessionConfig) -> ServerTurns | SemanticTurns | None:
    match config.detection:
        case ServerVad() as server:
            return ServerTurns(
                server.threshold, server.prefix_padding_ms, server.silence_duration_ms, server.idle_timeout_ms
            )
        case SemanticVad() as semantic:
            return SemanticTurns(semantic.eagerness)
    return None
