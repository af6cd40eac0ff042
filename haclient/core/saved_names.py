"""The text of the state file: the last good answers, for a start without name servers.

    {"version":1,"names":{"orders.internal":{"addresses":["10.0.0.2"],"at":1790000000}}}

Nothing else is in it: no URL, no port, no credential, no setting. `at` is Unix time, for a monotonic
clock means nothing after a restart. The naive reader trusts what it finds. This one takes a text of our
shape or none: another version, an unknown member, a number out of range, and it is none of ours. Within it
each name stands for itself: where the host or an address is in any other form than we write, that name is
left out, for what one name server said of one name must not cost all the others. So is an answer that is
too old, or of the future (a clock that was set back).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Annotated

import msgspec

from haclient.core.dns_answer import MAX_ADDRESSES
from haclient.core.dns_cache import MAX_ENTRIES
from haclient.core.names import ip_literal, to_ascii
from haclient.core.services import parse_service

__all__ = [
    "FROM_THE_FUTURE",
    "MAX_BYTES",
    "SERVICE",
    "SavedName",
    "read_saved_names",
    "saved_names_text",
]

VERSION = 1

SERVICE = "srv+"
"""Before the name of a service, whose "addresses" are SRV records (core.services)."""

MAX_BYTES = 16 << 20
"""What so many names with so many addresses can take, and more than they ever do."""

FROM_THE_FUTURE = 60.0
"""Seconds by which an answer may be younger than now: two clocks, or one that was corrected."""

MAX_NAME_LENGTH = 254
"""With a trailing dot (core.names)."""


class SavedName(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The addresses of a host, and when a name server said so, in Unix time."""

    addresses: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=2 * MAX_ADDRESSES)]
    at: Annotated[float, msgspec.Meta(ge=0)]


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    names: Annotated[dict[str, SavedName], msgspec.Meta(max_length=MAX_ENTRIES)]


_AROUND_HOST = '"":,'

_decoder = msgspec.json.Decoder(_File)


def saved_names_text(names: Mapping[str, SavedName]) -> bytes:
    """The file's content: the names from the first on, as many as are read again."""
    kept: dict[str, msgspec.Raw] = {}
    left = MAX_BYTES - len(msgspec.json.encode(_File(VERSION, {})) + b"\n")
    for host, saved in islice(names.items(), MAX_ENTRIES):
        entry = msgspec.json.encode(saved)
        left -= len(host) + len(_AROUND_HOST) + len(entry)
        if left < 0:
            break
        kept[host] = msgspec.Raw(entry)
    return msgspec.json.encode({"version": VERSION, "names": kept}) + b"\n"


def read_saved_names(
    text: bytes, wall_now: float, max_age: float
) -> tuple[dict[str, SavedName], tuple[str, ...]]:
    """What the text says, without what is older than `max_age` seconds; and why a name is left out.

    Raises:
        ValueError: it is not such a text; the message says why.
    """
    # msgspec's own errors are ValueErrors that say what is wrong, and where.
    file = _decoder.decode(text)
    if file.version != VERSION:
        raise ValueError(f"it is of version {file.version}, and this is for version {VERSION}")
    names, faults = {}, []
    for host, saved in file.names.items():
        if not wall_now - max_age < saved.at <= wall_now + FROM_THE_FUTURE:
            continue
        try:
            _check(host, saved)
        except ValueError as error:
            faults.append(str(error))
        else:
            names[host] = saved
    return names, tuple(faults)


def _check(host: str, saved: SavedName) -> None:
    name = host.removeprefix(SERVICE)
    if not _is_host(name):
        raise ValueError(f"{host[:80]!r} is not a host name as it is written here")
    for address in saved.addresses:
        if name != host:
            parse_service(address)
        elif ip_literal(address) != address:
            raise ValueError(f"{address[:80]!r} is not an IP address as it is written here")


def _is_host(name: str) -> bool:
    try:
        return len(name) <= MAX_NAME_LENGTH and to_ascii(name) == name
    except ValueError:
        return False
