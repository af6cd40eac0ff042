"""A conversation between clients, the sidecar and servers, as a list of steps with exact times.

    await play(
        client.says("GET / HTTP/1.1|Host: shop||"),
        a.hears("GET / HTTP/1.1|Host: ab.test||"),
        a.says("HTTP/1.1 200 OK|Content-Length: 2||hi").at(0.1),
        client.hears("HTTP/1.1 200 OK|Content-Length: 2||hi"),
    )

In a text, `|` stands for CRLF; bytes are taken as they are. What is heard is compared byte by byte.
No time passes but where a step says so, and before it passes, everybody must have heard all that
came. A step that goes wrong shows the conversation until there, and what was heard as a diff.
"""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import h11
import trio
import trio.testing

from tests.proxy.answers import HeardAnswer, parse_answer
from tests.sim.network import SimListener
from tests.sim.stream import SimStream

__all__ = ["Party", "Step", "play", "wire"]

PATIENCE = 30.0
"""Seconds that a step waits past its instant, to say what came too late."""

NEAR = 1e-6


def wire(text: str | bytes) -> bytes:
    """The bytes that a text in a playbook stands for."""
    return text if isinstance(text, bytes) else text.replace("|", "\r\n").encode("latin-1")


class Mismatch(Exception):
    """What was heard is not what was expected."""


@dataclass
class Step:
    """One line of a playbook."""

    party: Party
    does: str
    run: Callable[[], Awaitable[None]]
    is_patient: bool = False
    """Whether it waits for something to come."""
    instant: float | None = field(default=None)

    def at(self, instant: float) -> Step:
        """It happens at this instant: time passes until then."""
        self.instant = instant
        return self

    def __str__(self) -> str:
        return f"{self.party.name} {self.does}"


class Party:
    """Somebody who speaks and hears plain bytes: a client, or a server in an origin's place.

    Args:
        name: for a person.
        stream: the connection; a server has none yet.
        listener: where a server accepts one, when it is to hear something.
    """

    def __init__(
        self, name: str, stream: SimStream | None = None, listener: SimListener | None = None
    ) -> None:
        self.name = name
        self._stream = stream
        self._listener = listener
        self._heard = bytearray()
        self._end = ""
        self._got: HeardAnswer | None = None

    def __repr__(self) -> str:
        return f"<Party {self.name}, {self._stream}>"

    @property
    def stream(self) -> SimStream:
        """The connection."""
        assert self._stream is not None, f"{self.name} has no connection"
        return self._stream

    @property
    def got(self) -> HeardAnswer:
        """What `hears_answer` heard last."""
        assert self._got is not None
        return self._got

    async def accepted(self) -> SimStream:
        """The connection; a server's next one, where it has none."""
        if self._stream is None:
            assert self._listener is not None
            self._stream = await self._listener.accept()
        return self._stream

    # --- steps -------------------------------------------------------------------------------

    def says(self, text: str | bytes) -> Step:
        """Sends, as far as the two kernels take it."""
        data = wire(text)

        async def run() -> None:
            assert self.stream.send_now(data) == len(data), "more than the kernel takes"
            await trio.lowlevel.checkpoint()

        return Step(self, f"says {data[:200]!r}", run)

    def hears(self, text: str | bytes) -> Step:
        """Gets these bytes, and the last of them at the step's instant."""
        data = wire(text)

        async def run() -> None:
            await self._hear(data)

        return Step(self, f"hears {data[:200]!r}", run, is_patient=True)

    def is_called(self) -> Step:
        """A server has a connection, on which nothing has come yet."""

        async def run() -> None:
            await self.accepted()

        return Step(self, "is called", run, is_patient=True)

    def accepts(self) -> Step:
        """A server gets a whole head, whatever it is."""

        async def run() -> None:
            while b"\r\n\r\n" not in self._heard:
                assert not self._end, f"no head: {bytes(self._heard)!r}"
                await self._take_in()
            del self._heard[: self._heard.index(b"\r\n\r\n") + 4]

        return Step(self, "hears a head", run, is_patient=True)

    def hears_answer(self, status: int, method: str = "GET") -> Step:
        """Gets a whole response, as a client reads it; `got` holds it."""

        async def run() -> None:
            await self._hear_answer(status, method)

        return Step(self, f"hears an answer, {status}", run, is_patient=True)

    def hears_end(self) -> Step:
        """The other side has ended in good order, behind all that was heard."""
        return Step(self, "hears the end", lambda: self._hear_end("end"), is_patient=True)

    def hears_reset(self) -> Step:
        """The other side has reset the connection."""
        return Step(self, "hears a reset", lambda: self._hear_end("reset"), is_patient=True)

    def hears_nothing(self) -> Step:
        """Until the step's instant."""
        return Step(self, "hears nothing", trio.lowlevel.checkpoint)

    def half_closes(self) -> Step:
        """Sends a FIN, and still listens."""
        return Step(self, "half-closes", lambda: self.stream.send_eof())

    def closes(self) -> Step:
        """Closes both directions; a server can accept another connection then."""

        async def run() -> None:
            self.stream.close()
            self._forget()
            await trio.lowlevel.checkpoint()

        return Step(self, "closes", run)

    def resets(self) -> Step:
        """Closes with a reset."""

        async def run() -> None:
            self.stream.reset()
            self._forget()
            await trio.lowlevel.checkpoint()

        return Step(self, "resets", run)

    def does(self, what: str, run: Callable[[], object]) -> Step:
        """Something of the test's own; also without this party's doing."""

        async def call() -> None:
            run()
            await trio.lowlevel.checkpoint()

        return Step(self, what, call)

    def leave(self) -> None:
        """At the end of a test."""
        if self._stream is not None:
            self._stream.close()

    # --- hearing -----------------------------------------------------------------------------

    def _forget(self) -> None:
        self._heard.clear()
        self._end = ""
        if self._listener is not None:
            self._stream = None

    async def _hear(self, wanted: bytes) -> None:
        while len(self._heard) < len(wanted) and not self._end:
            await self._take_in()
        got = bytes(self._heard[: len(wanted)])
        if got != wanted:
            self._take_rest()
            raise Mismatch(difference(wanted, bytes(self._heard), self._end))
        del self._heard[: len(wanted)]

    async def _hear_answer(self, status: int, method: str) -> None:
        while True:
            at, is_end = trio.current_time(), bool(self._end)
            try:
                answer, size = parse_answer(bytes(self._heard), method, at, is_end=is_end)
            except h11.RemoteProtocolError as exc:
                raise Mismatch(f"no answer ({exc}): {bytes(self._heard)!r}") from exc
            if answer is not None:
                break
            if is_end:
                raise Mismatch(f"no whole answer: {bytes(self._heard)!r}")
            await self._take_in()
        if answer.status != status:
            raise Mismatch(f"another answer: {bytes(self._heard)!r}")
        del self._heard[:size]
        self._got = answer

    async def _hear_end(self, wanted: str) -> None:
        while not self._end and not self._heard:
            await self._take_in()
        if self._heard or self._end != wanted:
            raise Mismatch(f"heard {bytes(self._heard)!r} and {self._end or 'no end'}")
        self._end = "heard"

    async def _take_in(self) -> None:
        try:
            data = await (await self.accepted()).receive_some()
        except trio.BrokenResourceError:
            self._end = "reset"
            return
        self._heard += data
        if not data:
            self._end = "end"

    def _take_rest(self) -> None:
        """What is there already, to be shown."""
        if self._stream is not None:
            self._heard += self._stream.end.incoming

    def unheard(self) -> str:
        """What came and was not heard yet, if anything; no time passes."""
        if self._stream is None or self._stream.is_closed:
            return ""
        end = self._stream.end
        data = bytes(self._heard + end.incoming)
        told = f"bytes {data!r}" if data else ""
        if self._end == "heard":
            return told
        if end.unreported_error or self._end == "reset":
            return f"{told} a reset".strip()
        if end.has_fin_arrived or self._end == "end":
            return f"{told} an end".strip()
        return told


def difference(wanted: bytes, heard: bytes, end: str) -> str:
    """Both sides, line by line."""
    got = [*repr_lines(heard), *([f"({end})"] if end else [])]
    shown = difflib.ndiff(repr_lines(wanted), got)
    return "heard something else (- expected, + heard)\n" + "\n".join(shown)


def repr_lines(data: bytes) -> list[str]:
    return [repr(line)[1:] for line in data.splitlines(keepends=True)]


# --- playing --------------------------------------------------------------------------------------


async def play(*steps: Step) -> None:
    """Plays a conversation; parties that occur in it must have heard all in the end.

    Raises:
        AssertionError: a step went otherwise; all until there is shown.
    """
    parties = list({id(step.party): step.party for step in steps}.values())
    told: list[str] = []
    for step in steps:
        now = trio.current_time()
        instant = now if step.instant is None else step.instant
        told.append(f"{instant:8.3f}  {step}")
        try:
            await perform(step, instant, parties)
        except (Mismatch, trio.TooSlowError, trio.BrokenResourceError) as exc:
            why = str(exc) or f"it did not come; heard: {step.party.unheard() or 'nothing'}"
            told.append(f"at {trio.current_time():.3f}: {why}")
            raise AssertionError("\n".join(told)) from exc
    await trio.testing.wait_all_tasks_blocked()
    if left := unheard_of(parties):
        raise AssertionError("\n".join([*told, f"in the end, not heard: {left}"]))


async def perform(step: Step, instant: float, parties: list[Party]) -> None:
    """One step, at its instant.

    Raises:
        Mismatch: it went otherwise.
    """
    if step.is_patient:
        with trio.fail_at(instant + PATIENCE):
            await step.run()
        if abs(trio.current_time() - instant) > NEAR:
            raise Mismatch(f"it was so at {trio.current_time():.6f}, not at {instant:.6f}")
        return
    # Nobody speaks before all others have done what they could.
    await trio.testing.wait_all_tasks_blocked()
    if instant > trio.current_time():
        if left := unheard_of(parties):
            raise Mismatch(f"before it, not heard: {left}")
        await trio.sleep_until(instant)
    await step.run()


def unheard_of(parties: list[Party]) -> str:
    """What each of them has yet to hear."""
    return "; ".join(f"{one.name}: {left}" for one in parties if (left := one.unheard()))
