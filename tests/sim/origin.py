"""A scripted HTTP/1.1 origin on the simulated network.

It answers like a server, suffers what it is told to, and remembers what it has executed: the
promise that a POST reaches at most one server, once, is checked against `executed` of all origins.

    origin = SimOrigin(network, Endpoint("10.0.0.1", 80), "a", journal=journal)
    nursery.start_soon(origin.serve)
    origin.reply = Reply(content=b"x" * 1000, think=2.0)     # or a function of the request
    origin.script(Fault(Blackhole(), AfterContentBytes(100)))
    assert [request.method for request in origin.executed] == [b"GET"]

The listener is there as soon as the origin is made. Every response bears the origin's name in
X-Origin, and the request's own X-Request-Id.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from haclient.types import Endpoint
from tests.sim.conversation import Conversation
from tests.sim.effects import BlackholeConnect, Fault, Refuse
from tests.sim.journal import Journal
from tests.sim.network import Admission, SimNetwork
from tests.sim.script import Framing, OriginState, ReceivedRequest, Reply, Scripted, ranged
from tests.sim.stream import SimStream

__all__ = ["Framing", "ReceivedRequest", "Reply", "SimOrigin", "ranged"]

PLAIN_REPLY = Reply()


class SimOrigin:
    """See the module's docstring.

    Args:
        network: where it listens.
        endpoint: at which address and port.
        name: for the journal, and for what it answers.
        reply: how to answer; or a function that says so for each request.
        faults: as if given to `script`.
        journal: where requests, answers and effects are noted.
        backlog: connections that may wait to be accepted.
    """

    def __init__(
        self,
        network: SimNetwork,
        endpoint: Endpoint,
        name: str = "origin",
        *,
        reply: Reply | Callable[[ReceivedRequest], Reply] = PLAIN_REPLY,
        faults: tuple[Fault, ...] = (),
        journal: Journal | None = None,
        backlog: int = 128,
    ) -> None:
        self._state = OriginState(network, endpoint, name, reply, journal)
        self._conversations: dict[SimStream, Conversation] = {}
        self.script(*faults)
        self.listener = network.listen(endpoint, backlog)
        self.listener.admit = self._admit
        self.listener.on_connect = self._greet

    def __repr__(self) -> str:
        return f"<SimOrigin {self.name} at {self.endpoint}, {len(self.executed)} executed>"

    @property
    def network(self) -> SimNetwork:
        """Where it listens."""
        return self._state.network

    @property
    def name(self) -> str:
        """What the journal calls it."""
        return self._state.name

    @property
    def endpoint(self) -> Endpoint:
        """At which address and port."""
        return self._state.endpoint

    @property
    def executed(self) -> list[ReceivedRequest]:
        """Requests that were read whole, in order."""
        return self._state.executed

    @property
    def partial(self) -> list[ReceivedRequest]:
        """Requests of which a byte has arrived, and which were not read whole (yet)."""
        found = [conversation.unfinished for conversation in self._conversations.values()]
        return [request for request in found if request is not None]

    @property
    def reply(self) -> Reply | Callable[[ReceivedRequest], Reply]:
        """How requests are answered from now on."""
        return self._state.reply

    @reply.setter
    def reply(self, reply: Reply | Callable[[ReceivedRequest], Reply]) -> None:
        self._state.reply = reply

    def script(self, *faults: Fault) -> None:
        """Adds faults. An occasion is a request's first byte; a connect, for those on connect."""
        self._state.scripted += [Scripted(fault) for fault in faults]

    def forget_faults(self) -> None:
        """Nothing befalls it from now on, but for what has struck already."""
        self._state.scripted.clear()

    async def serve(self) -> None:
        """Serves until cancelled, also after a kill and a heal."""
        async with trio.open_nursery() as nursery:
            while True:
                stream = await self.listener.accept()
                nursery.start_soon(self._conversations[stream].run)

    def _admit(self) -> Admission:
        due = self._state.due(lambda fault: isinstance(fault.effect, Refuse | BlackholeConnect))
        for fault in due:
            self._state.note(f"suffers {fault}")
            refuses = isinstance(fault.effect, Refuse)
            return Admission.REFUSED if refuses else Admission.DROPPED
        return Admission.ACCEPTED

    def _greet(self, stream: SimStream) -> None:
        number = len(self._state.network.connections)
        self._conversations[stream] = Conversation(self._state, stream, number)
