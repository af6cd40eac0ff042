"""Adverse effects by name, and the steps of an exchange that they are placed at.

A failover client is tested by "what if this happens, there". Both halves are values, so that a test
can go through every effect at every step, and say in its id which one it is:

    origin.script(Fault(Blackhole(), AfterRequest()))
    @pytest.mark.parametrize("fault", every_fault(), ids=str)

What a kernel does (refuse, blackhole, reset, FIN, half-open) happens at the exact byte, as it
arrives; what an application does (stall, drip, garbage) when the application comes to it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import inf

__all__ = [
    "AfterContentBytes",
    "AfterHeadBytes",
    "AfterRequest",
    "AfterRequestBytes",
    "AfterResponse",
    "Blackhole",
    "BlackholeConnect",
    "Effect",
    "Fault",
    "Fin",
    "Garbage",
    "HalfOpen",
    "Kill",
    "OnConnect",
    "Refuse",
    "Reset",
    "SlowDrip",
    "Stall",
    "Step",
    "every_fault",
]


# -- Effects -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Refuse:
    """The SYN is answered with RST. Only on connect."""


@dataclass(frozen=True, slots=True)
class BlackholeConnect:
    """The SYN is dropped; the next one, a second later, is another occasion. Only on connect."""


@dataclass(frozen=True, slots=True)
class Blackhole:
    """Nothing arrives any more in either direction, for so many seconds.

    The origin goes on and does not know. The whole endpoint by default, new connects too; with
    `spares_others` this connection only.
    """

    seconds: float = inf
    spares_others: bool = False


@dataclass(frozen=True, slots=True)
class Reset:
    """RST: the connection is torn down, what was to be sent is dropped."""


@dataclass(frozen=True, slots=True)
class Fin:
    """The origin closes in good order; a segment that comes after that meets RST."""


@dataclass(frozen=True, slots=True)
class Kill:
    """kill -9 of the origin: every connection is closed by its kernel, new connects are refused."""


@dataclass(frozen=True, slots=True)
class HalfOpen:
    """The origin's host loses the connection without a word (RFC 9293, section 3.5.1).

    The next segment that the client sends, data or probe, meets RST.
    """


@dataclass(frozen=True, slots=True)
class Stall:
    """The application does nothing for so many seconds, and then goes on; its kernel lives."""

    seconds: float


@dataclass(frozen=True, slots=True)
class SlowDrip:
    """From here to the end of the response, bytes are read and sent at this rate."""

    bytes_per_second: float


@dataclass(frozen=True, slots=True)
class Garbage:
    """Bytes that are not HTTP, and then nothing until the client closes."""

    data: bytes = b"\x16\x03\x01\x00\xff not HTTP\r\n\r\n"


Effect = (
    Refuse
    | BlackholeConnect
    | Blackhole
    | Reset
    | Fin
    | Kill
    | HalfOpen
    | Stall
    | SlowDrip
    | Garbage
)


# -- Steps ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OnConnect:
    """As the connection comes about, before any byte."""


@dataclass(frozen=True, slots=True)
class AfterRequestBytes:
    """So many bytes of the request, head first, have arrived; with 0, as its first one comes."""

    count: int


@dataclass(frozen=True, slots=True)
class AfterRequest:
    """The request was read whole, and executed; nothing of the response was sent."""


@dataclass(frozen=True, slots=True)
class AfterHeadBytes:
    """So many bytes of the final response's head were sent; all of it if there are fewer."""

    count: int


@dataclass(frozen=True, slots=True)
class AfterContentBytes:
    """So many bytes of the response's content were sent; all of it if there are fewer.

    The message is not complete then: its last chunk is still to come, or its connection's end.
    """

    count: int


@dataclass(frozen=True, slots=True)
class AfterResponse:
    """The response is complete, and nothing has come since for so many seconds."""

    seconds: float = 0.0


Step = (
    OnConnect
    | AfterRequestBytes
    | AfterRequest
    | AfterHeadBytes
    | AfterContentBytes
    | AfterResponse
)


# -- Placed --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Fault:
    """An effect at a step, for the first `times` occasions after `skip`; None for all of them."""

    effect: Effect
    at: Step
    times: int | None = 1
    skip: int = 0

    def __post_init__(self) -> None:
        is_of_connect = isinstance(self.effect, Refuse | BlackholeConnect)
        if is_of_connect and not isinstance(self.at, OnConnect):
            raise ValueError(f"{self.effect} can only happen on connect")

    def __str__(self) -> str:
        return f"{describe(self.effect)} {describe(self.at)}"


def describe(value: Effect | Step) -> str:
    """The name, and what differs from its defaults: short enough for a test's id."""
    given = [getattr(value, f.name) for f in fields(value) if getattr(value, f.name) != f.default]
    return type(value).__name__ + (f"({', '.join(map(repr, given))})" if given else "")


def every_fault(seconds: float = 3.0, bytes_per_second: float = 20.0) -> tuple[Fault, ...]:
    """Every effect at every step where it makes a difference.

    Args:
        seconds: how long an application stalls.
        bytes_per_second: how slowly it drips.
    """
    steps = (
        OnConnect(),
        AfterRequestBytes(0),
        AfterRequestBytes(10),
        AfterRequest(),
        AfterHeadBytes(0),
        AfterHeadBytes(10),
        AfterContentBytes(0),
        AfterContentBytes(3),
        AfterResponse(),
    )
    anywhere = (Blackhole(), Reset(), Fin(), Kill(), HalfOpen(), Garbage())
    busy = (Stall(seconds), SlowDrip(bytes_per_second))
    return (
        *(Fault(effect, OnConnect()) for effect in (Refuse(), BlackholeConnect())),
        *(Fault(effect, step) for step in steps for effect in anywhere),
        *(Fault(effect, step) for step in steps[:-1] for effect in busy),
    )
