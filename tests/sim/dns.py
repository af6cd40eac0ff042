"""A scripted resolver: what each host resolves to, how long it takes, and how it fails.

    resolver = ScriptedResolver(journal)
    resolver.script("a.test", Answer("10.0.0.1", "10.0.0.2"))
    resolver.script("slow.test", Answer("10.0.0.3", delay=0.5), Answer(error=NameTimeoutError("…")))

Several answers are given one after the other, and the last one from then on. An address resolves to
itself; a host that was never scripted does not exist.
"""

from __future__ import annotations

import ipaddress

import trio

from haclient.errors import NameNotFoundError, ResolveError
from haclient.net import Resolution
from haclient.types import Endpoint
from tests.sim.journal import Journal

__all__ = ["Answer", "ScriptedResolver"]


class Answer:
    """One answer.

    Args:
        addresses: in this order; none at all is an answer too.
        delay: seconds before it comes.
        error: raised instead.
        source: as Resolution.source.
        ttl: seconds, or None.
        former: addresses that it had a moment ago.
    """

    def __init__(
        self,
        *addresses: str,
        delay: float = 0.0,
        error: ResolveError | None = None,
        source: str = "dns",
        ttl: float | None = 60.0,
        former: tuple[str, ...] = (),
    ) -> None:
        self.addresses = addresses
        self.delay = delay
        self.error = error
        self.source = source
        self.ttl = ttl
        self.former = former

    def __repr__(self) -> str:
        what = repr(self.error) if self.error is not None else ", ".join(self.addresses)
        return f"<Answer {what} after {self.delay:g} s>"


class ScriptedResolver:
    """Implements haclient.net.Resolver. `asked` holds every question, with its instant."""

    def __init__(self, journal: Journal | None = None) -> None:
        self.asked: list[tuple[float, str]] = []
        self._answers: dict[str, list[Answer]] = {}
        self._journal = journal

    def script(self, host: str, *answers: Answer) -> None:
        """Says what a host resolves to from now on."""
        self._answers[host] = list(answers)

    async def resolve(self, host: str, port: int) -> Resolution:
        """Returns what the script says for the host, each address with `port`.

        Raises:
            haclient.errors.ResolveError: as scripted; NameNotFoundError for an unknown host.
        """
        await trio.lowlevel.checkpoint()
        if is_address(host):
            return Resolution(host, (Endpoint(host, port),), "literal")
        self.asked.append((trio.current_time(), host))
        answers = self._answers.get(host)
        if not answers:
            self._note(f"{host} does not exist")
            raise NameNotFoundError(f"{host} does not exist, says the script")
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        await trio.sleep(answer.delay)
        if answer.error is not None:
            self._note(f"{host} failed: {type(answer.error).__name__}")
            raise answer.error
        self._note(f"{host} is {', '.join(answer.addresses) or 'without address'}")
        endpoints = tuple(Endpoint(address, port) for address in answer.addresses)
        former = tuple(Endpoint(address, port) for address in answer.former)
        return Resolution(host, endpoints, answer.source, answer.ttl, "10.0.0.53:53", former)

    def _note(self, text: str) -> None:
        if self._journal is not None:
            self._journal.note("dns", text)


def is_address(host: str) -> bool:
    """Whether a host is an IP literal already."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
