"""Whether a request's name and password are a user's (RFC 7617), asked before anything else of it is.

To check a password costs 20 to 50 ms of a processor, on purpose. The naive door pays that for each request, and
whoever guesses makes it pay as fast as he can send. Here what was found right once is remembered, by a
digest with a key that only this process has, so that a request costs a look into a dictionary (3 us); what
was found wrong is too, for a program with a wrong password tries it again and again. All else is checked
in a thread, one at a time in the whole process: guessing takes one processor at most, however
many guess. Whoever has to wait for that stands in a line of haclient.core.turns, so that a crowd of guessers at
one address costs a client at another no more than two checks, the one at work and one in turn. Nothing has been
asked of a server for those in line: who has left is taken out, a full door's others come first, and a drain
waits for none of them.
"""

from __future__ import annotations

import enum
import hashlib
import os
from typing import TypeVar

import msgspec
import trio

from haclient.core.config import Mode
from haclient.core.request_head import Refusal
from haclient.core.turns import Turns, crowd_of
from haclient.core.users import User, Users, basic_credentials
from haclient.errors import ProxyStatus
from haclient.net.http1_server import RawHead
from haclient.proxy.client_side import ClientSide
from haclient.proxy.gateway import Gateway
from haclient.proxy.record import Reason
from haclient.proxy.refuse import tell_left

__all__ = ["Checker", "Decision", "Guard", "known_or_refused"]

Kept = TypeVar("Kept")

KEPT_RIGHT, KEPT_WRONG = 4096, 1024
"""Digests of 32 bytes; the oldest goes first. 0.5 MiB of memory a door (measured), and as many programs as its
max_connections lets in at once by default; of wrong ones, those that are tried again and again are few."""

UNAVAILABLE = 503

LEFT = "its connection ended while its password waited to be checked"


class Challenge(msgspec.Struct, frozen=True):
    """How a door asks for credentials (RFC 9110, sections 11.6 and 11.7).

    Attributes:
        status: of the answer that asks.
        asks: the field in it.
        answers: the field of a request that has them, in small letters.
    """

    status: int
    asks: str
    answers: bytes


AS_SERVER = Challenge(401, "WWW-Authenticate", b"authorization")

AS_PROXY = Challenge(407, "Proxy-Authenticate", b"proxy-authorization")
"""What a forward proxy's client says to the server is none of its business."""


class Decision(enum.Enum):
    """What a guard says."""

    RIGHT = "right"
    WRONG = "wrong credentials"
    NOT_BASIC = "this door wants a user and password by the Basic scheme (RFC 7617)"
    BUSY = "too many passwords wait to be checked"
    CLOSING = "the door closes before it is this password's turn"


class _Turn(msgspec.Struct, eq=False):
    event: trio.Event = msgspec.field(default_factory=trio.Event)
    has_come: bool = False


class Checker:
    """One check at a time in the whole process; whoever has to wait stands in line."""

    def __init__(self) -> None:
        self._is_taken = False
        self._turns: Turns[_Turn] = Turns()

    def __repr__(self) -> str:
        return f"<Checker, {len(self._turns)} waiting>"

    async def begin(self, crowd: str) -> bool:
        """Waits for a turn; False where the line is too long for it."""
        if not self._is_taken:
            self._is_taken = True
            return True
        turn = _Turn()
        sent_away = self._turns.join(turn, crowd)
        if sent_away is turn:
            return False
        if sent_away is not None:
            sent_away.event.set()
        try:
            await turn.event.wait()
        except trio.Cancelled:
            if turn.has_come:
                self.end()  # it came in the moment in which nobody wanted it any more
            elif not turn.event.is_set():
                self._turns.leave(turn, crowd)
            raise
        return turn.has_come

    def end(self) -> None:
        """The next one's."""
        turn = self._turns.next()
        if turn is None:
            self._is_taken = False
        else:
            turn.has_come = True
            turn.event.set()


class Guard:
    """The users of one door, and whom of them it has seen.

    Attributes:
        users: in force; what was found by others is forgotten.
    """

    def __init__(self, users: Users, checker: Checker) -> None:
        self._checker = checker
        self._key = os.urandom(32)
        self.users = users
        self._right: dict[bytes, User] = {}
        self._wrong: dict[bytes, None] = {}
        self._under_way: dict[bytes, trio.Event] = {}

    def __repr__(self) -> str:
        return f"<Guard of {self.users!r}>"

    def use(self, users: Users) -> None:
        """Puts other users in force; whose line is the same as before need not be checked again."""
        self.users = users
        self._right = {
            digest: user
            for digest, user in self._right.items()
            if users.by_name.get(user.name) == user
        }
        self._wrong = {}

    def recall(self, value: bytes) -> Decision | None:
        """What it has to say to an Authorization field's value, where that needs no check."""
        digest = self._digest(value)
        if digest in self._right:
            return Decision.RIGHT
        if basic_credentials(value) is None:
            return Decision.NOT_BASIC
        return Decision.WRONG if digest in self._wrong else None

    async def judge(self, value: bytes, crowd: str) -> Decision:
        """The same, checked if need be, when it is the turn of this crowd."""
        digest = self._digest(value)
        while (decision := self.recall(value)) is None:
            if (others := self._under_way.get(digest)) is not None:
                # A program that has just started asks on all its connections at once: one check will do.
                await others.wait()
            elif not await self._check_in_turn(digest, value, crowd):
                return Decision.BUSY
        return decision

    def _digest(self, value: bytes) -> bytes:
        return hashlib.blake2b(value, key=self._key, digest_size=32).digest()

    async def _check_in_turn(self, digest: bytes, value: bytes, crowd: str) -> bool:
        credentials = basic_credentials(value)
        assert credentials is not None
        done = self._under_way[digest] = trio.Event()
        try:
            if not await self._checker.begin(crowd):
                return False
            try:
                await self._check(digest, *credentials)
            finally:
                self._checker.end()
        finally:
            del self._under_way[digest]
            done.set()
        return True

    async def _check(self, digest: bytes, name: str, password: str) -> None:
        users, user = None, None
        while users is not self.users:  # a reload in between
            users = self.users
            user = await trio.to_thread.run_sync(users.verify, name, password)
        if user is not None:
            _keep(self._right, digest, user, KEPT_RIGHT)
        else:
            _keep(self._wrong, digest, None, KEPT_WRONG)


def _keep(into: dict[bytes, Kept], digest: bytes, what: Kept, most: int) -> None:
    while len(into) >= most:
        del into[next(iter(into))]
    into[digest] = what


async def known_or_refused(gateway: Gateway, side: ClientSide, raw: RawHead) -> RawHead | Refusal:
    """The head without the credentials that are this door's, or the refusal of who has none."""
    door = side.door
    settings, guard = door.settings.auth, door.guard
    if settings is None or guard is None:
        return raw
    challenge = AS_PROXY if door.settings.mode is Mode.FORWARD else AS_SERVER
    values = [value for name, value in raw.fields if name.lower() == challenge.answers]
    if not values:
        return _asked(challenge, settings.realm, "this door asks for a user and password")
    decision = Decision.WRONG if len(values) > 1 else guard.recall(values[0])
    if decision is None:
        decision = await _judged(gateway, side, raw, guard, values[0])
    if decision is Decision.RIGHT:
        others = tuple(each for each in raw.fields if each[0].lower() != challenge.answers)
        return RawHead(raw.method, raw.target, raw.http_version, others)
    if decision in (Decision.BUSY, Decision.CLOSING):
        return Refusal(UNAVAILABLE, decision.value, ProxyStatus.HTTP_REQUEST_DENIED)
    # Without the name: people type passwords there.
    gateway.note_turned_away(door, side.client, Reason.CREDENTIALS, decision.value)
    return _asked(challenge, settings.realm, decision.value)


async def _judged(
    gateway: Gateway, side: ClientSide, raw: RawHead, guard: Guard, value: bytes
) -> Decision:
    """In its turn. Whoever leaves before that, or makes way, is told of, for its request was counted."""
    decision = Decision.CLOSING
    is_over = False
    try:
        with side.in_line():
            decision = await guard.judge(value, crowd_of(side.identity))
        is_over = True
    finally:
        if not is_over:
            tell_left(gateway, side, raw, LEFT)
    return decision


def _asked(challenge: Challenge, realm: str, reason: str) -> Refusal:
    field = f'{challenge.asks}: Basic realm="{realm}", charset="UTF-8"'.encode()
    return Refusal(challenge.status, reason, ProxyStatus.HTTP_REQUEST_DENIED, field)
