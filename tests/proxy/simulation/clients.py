"""A client of the simulation: sends as its plan says, and reads what comes strictly, with h11."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import h11
import trio

from tests.proxy.simulation.plan import Asked, Asker, make_request
from tests.sim.stream import SimStream

__all__ = ["Got", "Talk"]

GONE = (trio.BrokenResourceError, trio.ClosedResourceError)

CONTINUES_AFTER = 1.0
SIP_BYTES = 20_000

PATIENCE = 2000.0
"""Seconds for all that a client asks: of each of five requests three attempts, with a back-stop of up to
thirty, and 150,000 bytes at a thousand a second."""


@dataclass
class Got:
    """What a client got for a request.

    Attributes:
        status: of the final answer; 0 for none.
        fields: of it, by lowered name.
        is_whole: its framing says that all of it is there.
        end: why it is not: left, ended, reset, garbled or stuck.
    """

    asked: Asked
    status: int = 0
    fields: dict[bytes, bytes] | None = None
    content: bytes = b""
    is_whole: bool = False
    end: str = ""

    @property
    def origin(self) -> str:
        """The server it is from; empty for an answer of the sidecar's own."""
        return (self.fields or {}).get(b"x-origin", b"").decode()


class Talk:
    """One client's connection."""

    def __init__(self, stream: SimStream, asker: Asker, got: list[Got]) -> None:
        self._stream = stream
        self._asker = asker
        self._got = got
        self._mine: list[Got] = []
        self._leftover = b""
        self._sent = self._read = 0
        self._has_left = False
        self._may_send = trio.Event()
        self.extra = b""
        """What came behind the last answer: nothing should."""

    async def run(self) -> None:
        """All of its requests; what became of them stands in the history."""
        try:
            with trio.move_on_after(PATIENCE):
                if self._asker.is_ahead:
                    await self._all_at_once()
                else:
                    await self._one_by_one()
                return
            self._mine[-1].end = "stuck"
        finally:
            self._stream.close()

    async def _one_by_one(self) -> None:
        for asked in self._asker.requests:
            await trio.sleep(asked.pause)
            got = self._new(asked)
            self._may_send = trio.Event()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._send, asked)
                await self._receive(got)
                nursery.cancel_scope.cancel()
            if not got.is_whole or not self._may_go_on(got):
                return
        await self._look_for_extra()

    async def _all_at_once(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._send, *self._asker.requests)
            for asked in self._asker.requests:
                got = self._new(asked)
                await self._receive(got)
                if not got.is_whole or not self._may_go_on(got):
                    break
            else:
                await self._look_for_extra()
            nursery.cancel_scope.cancel()

    def _new(self, asked: Asked) -> Got:
        got = Got(asked)
        self._mine.append(got)
        self._got.append(got)
        return got

    def _may_go_on(self, got: Got) -> bool:
        assert got.fields is not None
        return got.fields.get(b"connection", b"") != b"close" and not got.asked.is_last

    async def _look_for_extra(self) -> None:
        with trio.move_on_after(0.5):
            with contextlib.suppress(*GONE):
                self.extra = self._leftover + await self._stream.receive_some()

    # --- sending ---------------------------------------------------------------------------------

    async def _send(self, *requests: Asked) -> None:
        try:
            for asked in requests:
                head, content = make_request(asked)
                await self._send_pieces(head)
                if asked.expects and not self._asker.is_ahead:
                    with trio.move_on_after(CONTINUES_AFTER):
                        await self._may_send.wait()
                await self._send_pieces(content)
        except GONE:
            pass  # an answer may have come before that, and says why

    async def _send_pieces(self, data: bytes) -> None:
        asker = self._asker
        for at in range(0, len(data), asker.piece):
            part = data[at : at + asker.piece]
            if asker.leaves_after is not None and self._sent + len(part) > asker.leaves_after:
                part = part[: max(0, asker.leaves_after - self._sent)]
                await self._stream.send_all(part)
                await self._leave()
                await trio.sleep_forever()
            await self._stream.send_all(part)
            self._sent += len(part)
            if asker.drip:
                await trio.sleep(asker.drip)

    async def _leave(self) -> None:
        if self._has_left:
            return
        match self._asker.leaves_by:
            case "reset":
                self._has_left = True
                self._stream.reset()
            case "close":
                self._has_left = True
                self._stream.close()
            case _:
                await self._stream.send_eof()

    # --- receiving -------------------------------------------------------------------------------

    async def _receive(self, got: Got) -> None:
        http = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
        http.send(h11.Request(method=got.asked.method, target="/", headers=[("Host", "x")]))
        http.send(h11.EndOfMessage())
        if self._leftover:
            http.receive_data(self._leftover)
            self._leftover = b""
        try:
            while not got.is_whole:
                self._take(got, http)
                if not got.is_whole:
                    http.receive_data(await self._more())
        except h11.RemoteProtocolError as exc:
            got.end = "ended" if http.trailing_data[1] else f"garbled: {exc}"
        except trio.BrokenResourceError:
            got.end = "reset"
        except trio.ClosedResourceError:
            got.end = "left"

    def _take(self, got: Got, http: h11.Connection) -> None:
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA or event is h11.PAUSED:
                return
            if isinstance(event, h11.InformationalResponse):
                if event.status_code == 100:
                    self._may_send.set()
            elif isinstance(event, h11.Response):
                got.status, got.fields = event.status_code, dict(event.headers)
                self._may_send.set()
            elif isinstance(event, h11.Data):
                got.content += event.data
            elif isinstance(event, h11.EndOfMessage):
                got.is_whole = True
                self._leftover = bytes(http.trailing_data[0])
                return
            else:
                raise trio.BrokenResourceError(f"{event}")

    async def _more(self) -> bytes:
        asker = self._asker
        if asker.sip:
            await trio.sleep(asker.sip)
        data = await self._stream.receive_some(SIP_BYTES)
        self._read += len(data)
        if asker.leaves_by != "half" and asker.leaves_after and self._read >= asker.leaves_after:
            await self._leave()
        return data
