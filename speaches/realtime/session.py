"""One Realtime session: what a client may do when, and what follows from it. Rules only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from speaches.errors import InvalidRequest, SpeachesError
from speaches.realtime import config as settings
from speaches.realtime.audible import Audible
from speaches.realtime.config import SessionConfig, updated
from speaches.realtime.conversation import Conversation
from speaches.realtime.input_audio import Committed, InputAudio
from speaches.realtime.items import Content, Item, read_item
from speaches.realtime.outbox import Outbox
from speaches.realtime.reading import an_object, plain_text, quoted, read, well_formed
from speaches.realtime.requests import (
    CancelResponse,
    CreateItem,
    CreateResponse,
    NamedItem,
    ResponseSettings,
    TruncateItem,
    UpdateSession,
    read_input,
)
from speaches.realtime.responses import Responses
from speaches.realtime.states import State
from speaches.realtime.transcripts import Transcripts
from speaches.realtime.turn import Transcript, hearing
from speaches.realtime.turns import IdleTimeout, SpeechPaused, SpeechResumed, SpeechStarted, SpeechStopped, TurnEvent
from speaches.realtime.work import Work

if TYPE_CHECKING:
    from speaches.engines.base import Samples, SpokenWord, Word


class Session:
    """One Realtime session, without I/O: no socket, clock, task or model.

    After each call, send what `events_to_send` returns and start what `work_to_do` returns. Events are in the GA dialect (`dialects.py`
    translates for old clients). Nothing that a client sends raises: its mistakes become `error` events, and the session goes on.
    """

    def __init__(
        self,
        config: SessionConfig,
        *,
        new_id: Callable[[str], str],
        expires_at: int,
        webrtc: bool = False,
        has_ending_model: bool = False,
        hears_ahead: bool = True,
    ) -> None:
        """Begins with a `session.created`, and a `conversation.created` where there is going to be one.

        Args:
            config: From `config.new_session`.
            new_id: Makes an id that was never made before from a prefix such as "item"; at most 32 characters.
            expires_at: Seconds since 1970, for the client to see; the driver ends the session.
            webrtc: Audio goes by another way: no audio deltas, `output_audio_buffer.*` instead.
            has_ending_model: Whether MeasureEnding can be answered.
            hears_ahead: Whether a turn may be transcribed at each pause in it, so that the text is there when the turn is over.
        """
        self._config = config
        self._outbox = Outbox(new_id)
        self._id = new_id("sess")
        self._expires_at = expires_at
        self._webrtc = webrtc
        self._conversation = Conversation(self._outbox)
        self._input = InputAudio(self._outbox, config, hears_ahead=hears_ahead, has_ending_model=has_ending_model)
        self._transcripts = Transcripts(self._outbox)
        self._responses = Responses(self._outbox, self._conversation, webrtc=webrtc)
        self._audible = Audible(self._input, self._responses)
        self._cut_short: str | None = None
        """The response that the client has ended by truncating its item, and may yet cancel."""
        self._tell_session("session.created")
        if config.type == "realtime":
            conversation = {"id": self._conversation.id, "object": "realtime.conversation"}
            self._outbox.emit("conversation.created", conversation=conversation)

    # --- From the client ---

    def receive(self, event: object, audio: Mapping[str, Samples] | None = None) -> None:
        """Apply a client event, as JSON made it: any object at all.

        `input_audio_buffer.append` doesn't come here but to `heard`. Before a commit, or anything else, all audio that was sent before it
        must have been `heard`.

        Args:
            audio: What `items.embedded_audio` found in the event, decoded to 16 kHz, by its path.
        """
        event_id = event.get("event_id") if isinstance(event, Mapping) else None
        try:
            event = an_object(well_formed(event), "")
            event_id = event.get("event_id")
            kind = event.get("type")
            if kind is None:
                raise InvalidRequest(
                    "Missing required parameter: 'type'.", param="type", code="missing_required_parameter"
                )
            if not isinstance(kind, str) or kind not in HANDLERS:
                raise InvalidRequest(
                    f"Invalid value for 'type': {quoted(kind)}. Supported values are: {', '.join(sorted(SUPPORTED))}.",
                    param="type",
                    code="invalid_value",
                )
            HANDLERS[kind](self, event, audio or {})
        except SpeachesError as error:
            self._outbox.refuse(error, event_id)
        self._proceed()

    def heard(self, samples: Samples, probabilities: Sequence[float] = ()) -> None:
        """The client's audio goes on.

        Args:
            samples: shape (n,), float32, 16 kHz, of any length.
            probabilities: The chance of speech in each frame of 512 samples that these complete, counted from the session's first sample.
                Wanted while `detects_turns`; ignored, and not needed, otherwise.
        """
        if self._config.audio.input.half_duplex and self._audible.may_echo:
            probabilities = [0.0] * len(probabilities)  # what is heard now is the answer, from the loudspeaker
        try:
            self._follow(self._input.heard(samples, probabilities))
        except SpeachesError as error:
            self._outbox.refuse(error)
        self._input.listen()
        self._proceed()

    def refuse(self, error: SpeachesError, event_id: object = None) -> None:
        """Tell the client of a mistake that the driver found: JSON that is none, base64 that is none, audio that can't be decoded."""
        self._outbox.refuse(error, event_id)

    @property
    def detects_turns(self) -> bool:
        """Whether frames are to be judged by the VAD model. May change with each `receive`."""
        return self._config.detection is not None

    @property
    def input_format(self) -> str:
        """`audio/pcm`, `audio/pcmu` or `audio/pcma`: what appends and audio items are in from now on."""
        return self._config.audio.input.format.type

    @property
    def noise_reduction(self) -> str | None:
        """`near_field`, `far_field` or None."""
        reduction = self._config.audio.input.noise_reduction
        return reduction.type if reduction else None

    # --- Results of work ---

    def hypothesis(self, work_id: str, words: Sequence[Word], took_ms: int) -> None:
        """Answers Listen.

        Args:
            words: With times from the start of the samples.
            took_ms: How long it took, waiting included; the slower, the rarer is the next one.
        """
        turn = self._input.turn
        shown = plain_text(self._input.hypothesis(work_id, words, took_ms))
        if shown and turn is not None and self._config.transcription:
            self._transcripts.show(turn.item_id, shown)
        self._input.listen()

    def transcribed(
        self,
        work_id: str,
        text: str,
        *,
        language: str | None = None,
        logprobs: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        """Answers Transcribe. `text` may be empty: nobody spoke."""
        self._settle(work_id, Transcript(plain_text(text).strip(), language, logprobs))

    def transcription_failed(self, work_id: str, error: SpeachesError) -> None:
        """Answers Transcribe."""
        self._settle(work_id, error)

    def ending(self, likelihood: float, heard_until_ms: int) -> None:
        """Answers MeasureEnding: 0 is surely unfinished, 1 is surely finished."""
        self._follow(self._input.ending(likelihood, heard_until_ms))
        self._proceed()

    def response_text(self, response_id: str, delta: str) -> None:
        """The LLM's text goes on, where the answer is text only."""
        if response := self._responses.answering(response_id):
            self._responses.bound(response, response.text(delta))
            self._proceed()

    def response_speech(self, response_id: str, text: str, samples: int, words: Sequence[SpokenWord] = ()) -> None:
        """The next piece of the answer begins to be spoken: sends its transcript. Then call `response_audio` for its audio.

        Args:
            text: As written by the LLM, with the white space that separates it from the piece before.
            samples: How long its speech is, at 24 kHz.
            words: Its words, with times from the start of this piece, where the engine tells them.
        """
        if response := self._responses.answering(response_id):
            self._responses.bound(response, response.speech(text, samples, words))
            self._proceed()

    def response_audio(self, response_id: str, audio: str, samples: int) -> None:
        """The next audio of the answer is sent now. Call it no sooner than it is to be sent: what was handed over counts as sent.

        Args:
            audio: base64, in the response's format, small enough for one event. Ignored with WebRTC.
            samples: How much that is, at 24 kHz.
        """
        if response := self._responses.answering(response_id):
            self._audible.sent(samples)
            response.audio(audio, samples)
            self._responses.plays(response)

    def response_call(self, response_id: str, key: str, name: str, arguments: str, call_id: str | None = None) -> None:
        """A function call goes on. The first call with a new `key` begins it.

        Args:
            key: Tells the calls of a response apart, such as the LLM's index.
            arguments: The next stretch of its JSON, maybe empty.
            call_id: The LLM's. The client sees another one where this is too long or was used before.
        """
        if response := self._responses.answering(response_id):
            self._responses.bound(response, response.call(key, name, arguments, call_id))
            self._proceed()

    def response_finished(
        self, response_id: str, finish_reason: str | None = None, usage: Mapping[str, Any] | None = None
    ) -> None:
        """All that there is of a response has been handed over.

        `finish_reason` and `usage` are as in Chat Completions; where they are missing it was a whole answer, and tokens are estimated.
        """
        if response := self._responses.answering(response_id):
            response.usage.count(usage)
            self._responses.end(response, "finish", finish_reason=finish_reason)
            self._proceed()

    def response_failed(self, response_id: str, error: SpeachesError) -> None:
        """There will be no more of this response."""
        if response := self._responses.answering(response_id):
            self._responses.end(response, "fail", error=error)
            self._proceed()

    def played(self, response_id: str, samples: int) -> None:
        """WebRTC: no more of a response's audio is played, be it that this was all, or that the rest was thrown away.

        Args:
            samples: How much was played, at 24 kHz.
        """
        if response := self._responses.played(response_id, samples):
            self._audible.played(response)

    # --- For the driver ---

    def events_to_send(self) -> list[dict[str, Any]]:
        """Take the events made since the last call, in order."""
        return self._outbox.events()

    def work_to_do(self) -> list[Work]:
        """Take the work that came up since the last call, in order."""
        return self._outbox.work()

    # --- Client events ---

    def _update_session(self, event: Mapping[str, Any], audio: Mapping[str, Samples]) -> None:
        self._config = updated(self._config, read(UpdateSession, event).session)
        if self._config.type == "transcription":
            self._responses.due.clear()
        self._input.update(self._config)
        self._tell_session("session.updated")

    def _create_item(self, event: Mapping[str, Any], audio: Mapping[str, Samples]) -> None:
        given = read(CreateItem, event)
        item, speech = read_item(given.item, "item", self._outbox.new_id, audio)
        place = self._conversation.place_after(given.previous_item_id)
        self._conversation.check_room(item, self._input.turn.item_id if self._input.turn else None)
        self._conversation.insert(item, place)
        self._tell_item(item)
        self._transcripts.ask(item, speech, hearing(self._config))

    def _retrieve_item(self, event: Mapping[str, Any], audio: Mapping[str, Samples]) -> None:
        item = self._conversation.find(read(NamedItem, event).item_id, "retrieve")
        self._outbox.emit("conversation.item.retrieved", item=item.for_client())

    def _delete_item(self, event: Mapping[str, Any], audio: Mapping[str, Samples]) -> None:
        item = self._conversation.find(read(NamedItem, event).item_id, "delete")
        self._responses.due.discard(item.id)
        self._transcripts.forget(item)
        self._conversation.remove(item)

    def _truncate_item(self, event: Mapping[str, Any], audio: Mapping[str, Samples]) -> None:
        given = read(TruncateItem, event)
        item = self._conversation.find(given.item_id, "truncate")
        self._conversation.truncate(item, given.content_index, given.audio_end_ms)
        # OpenAI has mostly sent it all by then; we send it as it is played. Some clients cancel as well, some don't.
        self._cut_short = self._responses.cut(item.id) or self._cut_short
        if item is self._conversation.last_spoken:
            self._audible.stopped()

    def _commit(self, event: Mapping[str, Any], audio: Mapping[str, Samples]) -> None:
        committed = self._input.commit("commit")
        if (
            committed.turn.announced
        ):  # whoever was told of its start waits for its end, also where detection is off by now
            self._outbox.emit(
                "input_audio_buffer.speech_stopped", item_id=committed.turn.item_id, audio_end_ms=self._input.now_ms
            )
        self._add_turn(committed)

    def _clear(self, event: Mapping[str, Any], audio: Mapping[str, Samples]) -> None:
        self._input.clear()
        self._outbox.emit("input_audio_buffer.cleared")

    def _clear_output(self, event: Mapping[str, Any], audio: Mapping[str, Samples]) -> None:
        if not self._webrtc:
            raise InvalidRequest(
                "output_audio_buffer.clear is for WebRTC; here the client itself has the audio.", code="invalid_value"
            )
        self._responses.stop_playing()

    def _create_response(self, event: Mapping[str, Any], audio: Mapping[str, Samples]) -> None:
        if self._config.type == "transcription":
            raise InvalidRequest("A transcription session makes no responses.", code="invalid_session_type")
        asked = read(CreateResponse, event).response
        wanted = read(ResponseSettings, {} if asked is None else asked, "response")
        beside = wanted.conversation == "none"
        self._responses.check_room(beside=beside)
        given, speech = read_input(wanted.input, self._conversation, self._outbox.new_id, audio)
        if not beside:
            self._responses.due.clear()  # this one answers them too
        self._responses.create(wanted.over(self._config), beside=beside, given=given, metadata=wanted.metadata)
        for item, samples in speech:
            self._transcripts.ask(item, samples, hearing(self._config))

    def _cancel_response(self, event: Mapping[str, Any], audio: Mapping[str, Samples]) -> None:
        response_id = read(CancelResponse, event).response_id
        self._audible.stopped()
        cut_short, self._cut_short = self._cut_short, None
        is_over = (response_id is None and self._responses.active is None) or response_id == cut_short
        if cut_short is None or not is_over:
            self._responses.cancel(response_id)

    # --- Turns ---

    def _follow(self, events: Sequence[TurnEvent]) -> None:
        """Do what follows from what the user does."""
        for place, event in enumerate(events, start=1):
            match event:
                case SpeechStarted():
                    self._speech_started(event)
                case SpeechPaused() if place == len(events):  # else it is over already, and there is more in the buffer
                    self._input.pause()
                case SpeechResumed():
                    self._input.resume()
                case SpeechStopped():
                    self._speech_stopped(event)
                case IdleTimeout():
                    self._timed_out(event)

    def _speech_started(self, event: SpeechStarted) -> None:
        turn = self._input.start(event.audio_start_ms)
        self._outbox.emit(
            "input_audio_buffer.speech_started", item_id=turn.item_id, audio_start_ms=event.audio_start_ms
        )
        if self._interrupts:
            self._responses.interrupt()

    def _speech_stopped(self, event: SpeechStopped) -> None:
        committed = self._input.commit("stop", event.audio_end_ms)
        item_id = committed.turn.item_id
        self._outbox.emit("input_audio_buffer.speech_stopped", item_id=item_id, audio_end_ms=event.audio_end_ms)
        self._add_turn(committed, answered=self._answers)

    def _timed_out(self, event: IdleTimeout) -> None:
        committed = self._input.commit("time out", event.audio_end_ms, event.audio_start_ms)
        self._outbox.emit(
            "input_audio_buffer.timeout_triggered",
            item_id=committed.turn.item_id,
            audio_start_ms=event.audio_start_ms,
            audio_end_ms=event.audio_end_ms,
        )
        silence = event.audio_end_ms - event.audio_start_ms
        self._add_turn(committed, answered=self._answers, silence=silence)

    @property
    def _interrupts(self) -> bool:
        return self._config.detection is not None and self._config.detection.interrupt_response

    @property
    def _answers(self) -> bool:
        detection = self._config.detection
        return self._config.type == "realtime" and detection is not None and detection.create_response

    def _add_turn(self, committed: Committed, *, answered: bool = False, silence: int | None = None) -> None:
        """Committed audio becomes an item, and in time a text."""
        turn = committed.turn
        content = Content("input_audio", awaited=True, seconds=committed.seconds)
        item = Item(turn.item_id, "message", role="user", content=[content], silence=silence)
        self._conversation.append(item)
        previous = self._conversation.previous_id(item)
        self._outbox.emit("input_audio_buffer.committed", item_id=item.id, previous_item_id=previous)
        self._tell_item(item)
        if answered:
            self._responses.due.add(item.id)
        self._transcripts.expect(item, turn, told=self._config.transcription is not None)

    def _settle(self, work_id: str, heard: Transcript | SpeachesError) -> None:
        if (events := self._input.heard_ahead(work_id, heard)) is not None:
            self._follow(events)
        else:
            self._transcripts.settle(work_id, heard)
        self._proceed()

    def _proceed(self) -> None:
        """Let the responses go on that what has just happened lets go on."""
        speaks_over = self._interrupts and self._input.state is State.SPEAKING
        was_due = bool(self._responses.due)
        self._responses.proceed(self._config, may_answer=not speaks_over)
        self._audible.follow(was_noise=was_due and not self._responses.due)

    # --- Telling the client ---

    def _tell_item(self, item: Item) -> None:
        self._conversation.tell("added", item)
        self._conversation.tell("done", item)

    def _tell_session(self, event_type: str) -> None:
        self._outbox.emit(event_type, session=settings.for_client(self._config, self._id, self._expires_at))


HANDLERS: Mapping[str, Callable[[Session, Mapping[str, Any], Mapping[str, Samples]], None]] = {
    "session.update": Session._update_session,
    "input_audio_buffer.commit": Session._commit,
    "input_audio_buffer.clear": Session._clear,
    "output_audio_buffer.clear": Session._clear_output,
    "conversation.item.create": Session._create_item,
    "conversation.item.retrieve": Session._retrieve_item,
    "conversation.item.truncate": Session._truncate_item,
    "conversation.item.delete": Session._delete_item,
    "response.create": Session._create_response,
    "response.cancel": Session._cancel_response,
}
SUPPORTED = (*HANDLERS, "input_audio_buffer.append")
