"""A door in TCP mode in the house, and what its tests say again and again."""

from __future__ import annotations

from typing import Any

from haclient.core.config import Mode
from haclient.core.spec import Target
from tests.proxy.house import A, House, house
from tests.proxy.playbook import Party, play
from tests.sim.stream import SimStream

__all__ = ["BOTH", "ONE", "TUNNELLED", "connected", "receive_all", "tcp"]

ONE = Target(urls=["tcp://a.test:80"])
BOTH = Target(urls=["tcp://ab.test:80"])
TUNNELLED = "TCP  0 tunnelled [10.0.0.1:80 answered]"


def tcp(target: Target = BOTH, **settings: Any) -> Any:
    return house(target=target, mode=Mode.TCP, **settings)


async def connected(h: House) -> tuple[Party, Party]:
    """A client and its server, after a question and an answer."""
    client, a = h.client(), h.server(A)
    await play(client.says("ping"), a.hears("ping"), a.says("pong"), client.hears("pong"))
    return client, a


async def receive_all(stream: SimStream) -> int:
    """How many bytes come until the end."""
    received = 0
    while data := await stream.receive_some():
        received += len(data)
    return received
