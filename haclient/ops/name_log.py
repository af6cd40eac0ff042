"""What the resolver tells, as lines of the log: one when names begin to be in trouble, one at the end."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from haclient.core.dns_cache import StaleBegan, StaleEnded
from haclient.net.name_memory import ResolverEvent
from haclient.net.state_file import StateFileTrouble
from haclient.ops.log import Log

__all__ = ["name_log"]


def name_log(log: Log) -> Callable[[ResolverEvent], None]:
    """Returns what writes an event into `log`."""

    def tell(event: ResolverEvent) -> None:
        match event:
            case StaleBegan(host, error):
                log.warning("name servers fail, the last answer serves on", name=host, error=error)
            case StaleEnded(host, lasted, ""):
                log.info("name servers answer again", name=host, after=lasted)
            case StaleEnded(host, lasted, error):
                log.error("the last answer serves no more", name=host, after=lasted, error=error)
            case StateFileTrouble(path, detail):
                log.warning("state file", path=path, detail=detail)
            case _:
                assert_never(event)

    return tell
