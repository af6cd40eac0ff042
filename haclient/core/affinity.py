"""Which requests belong together, and which server is whose: values and hashing, no memory.

A server that keeps its users' sessions in its own memory (a Vaadin application, for one) must see all
requests of a user. The naive answers: to count clients modulo servers, which moves nearly all of them when
one server joins or leaves; or a table of who went where, which two sidecars do not share and a restart
empties.

Ours: rendezvous hashing (Thaler and Ravishankar, 1996, "highest random weight"). Each server has a weight
for each client, a digest of the two; the highest is the client's own, the next one stands in for it. Whoever
knows the same servers chooses alike. If one of n servers leaves, its clients move, 1/n of all, each to the
next of its own order; nobody else does. How those that moved are remembered: haclient.core.owners.

What a client is known by is a digest as well: what is remembered must not be of use to whoever reads the
process's memory dump, and a cookie that carries a session is a password.

Left out: weights of servers, and cookies of our own (what a server's cookie says is enough, and a client's
cookie jar is nobody's but its servers').
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterable
from hashlib import blake2b

import msgspec

from haclient.core.framing import TOKEN
from haclient.types import Endpoint, Fields

__all__ = [
    "NO_AFFINITY",
    "Affinity",
    "AffinityKind",
    "Key",
    "in_order_of_weight",
    "key_of",
    "name_of",
    "parse_affinity",
    "session_of",
    "weight",
]

Key = bytes
"""What a client is known by."""

KEY_BYTES = 16
"""Of a digest. Two of a million clients meet in one with a chance of 1 in 10**27."""

WEIGHT_BYTES = 8
"""Two servers of the same weight for one client: never, in practice; then the name decides."""

WANTED = 'it is "none", "client", "cookie:NAME" or "header:NAME"'

_NAME = re.compile(TOKEN)


class AffinityKind(enum.Enum):
    """What a client is known by."""

    NONE = "none"
    CLIENT = "client"
    """Its address; on a Unix socket its user."""
    COOKIE = "cookie"
    HEADER = "header"


class Affinity(msgspec.Struct, frozen=True):
    """The kind, and the name of the cookie or field (RFC 6265, section 4.1.1; RFC 9110, section 5.1)."""

    kind: AffinityKind = AffinityKind.NONE
    name: str = ""

    def __str__(self) -> str:
        return f"{self.kind.value}:{self.name}" if self.name else self.kind.value


NO_AFFINITY = Affinity()


def parse_affinity(text: str) -> Affinity:
    """Reads "none", "client", "cookie:NAME" or "header:NAME".

    Raises:
        ValueError: it is none of them; one line.
    """
    word, colon, name = text.partition(":")
    try:
        kind = AffinityKind(word)
    except ValueError:
        raise ValueError(WANTED) from None
    if kind is AffinityKind.NONE or kind is AffinityKind.CLIENT:
        if colon:
            raise ValueError(f'"{word}" takes no name: write "{word}"')
    elif not _NAME.fullmatch(name.encode("utf-8", "replace")):
        sign = "letters, digits and any of !#$%&'*+-.^_`|~"
        raise ValueError(f'write "{word}:NAME", the NAME of {sign}')
    return Affinity(kind, name)


# --- what a client is known by -------------------------------------------------------------------


def key_of(affinity: Affinity, fields: Fields, client: str) -> Key | None:
    """Returns what the sender of a request is known by; None where it bears nothing to know it by.

    Args:
        affinity: the target's.
        fields: the request's, as its client sent them.
        client: its address without port, or "uid:" and its user.
    """
    kind, value = affinity.kind, b""
    if kind is AffinityKind.COOKIE:
        value = _cookie(affinity.name.encode(), fields)
    elif kind is AffinityKind.HEADER:
        value = _field(affinity.name.lower().encode(), fields)
    elif kind is AffinityKind.CLIENT:
        value = client.encode()
    return _digest(value) if value else None


def session_of(affinity: Affinity, fields: Fields) -> Key | None:
    """What a client will be known by from this response on: the cookie that it sets."""
    if affinity.kind is not AffinityKind.COOKIE:
        return None
    wanted, found = affinity.name.encode(), b""
    for name, value in fields:
        if name.lower() == b"set-cookie":
            # RFC 6265, section 5.2: the value is what stands before the first semicolon.
            key, is_pair, rest = value.partition(b";")[0].partition(b"=")
            if is_pair and key.strip(b" \t") == wanted:
                found = rest.strip(b" \t")  # the last one stays in the client's store
    return _digest(found) if found else None


def _cookie(wanted: bytes, fields: Fields) -> bytes:
    """The first of that name (RFC 6265, section 5.4: that of the longest path)."""
    for name, value in fields:
        if name.lower() == b"cookie" and wanted in value:
            for pair in value.split(b";"):
                key, _, rest = pair.partition(b"=")
                if key.strip(b" \t") == wanted:
                    return rest.strip(b" \t")
    return b""


def _field(wanted: bytes, fields: Fields) -> bytes:
    """The value; several lines are one (RFC 9110, section 5.3)."""
    return b", ".join(value for name, value in fields if name.lower() == wanted).strip(b" \t,")


def _digest(value: bytes) -> Key:
    return blake2b(value, digest_size=KEY_BYTES).digest()


# --- whose is which ------------------------------------------------------------------------------


def weight(key: Key, name: bytes) -> bytes:
    """How much a client belongs to the endpoint of this name: the greater the more."""
    # The key has a fixed size, so no two pairs run together into the same bytes.
    return blake2b(key + name, digest_size=WEIGHT_BYTES).digest() + name


def name_of(endpoint: Endpoint) -> bytes:
    """What an endpoint is called in a weight, by every haclient alike."""
    return str(endpoint).encode()


def in_order_of_weight(key: Key, endpoints: Iterable[Endpoint]) -> list[Endpoint]:
    """Returns the client's own endpoint, then who stands in for it, and so on."""
    return sorted(endpoints, key=lambda endpoint: weight(key, name_of(endpoint)), reverse=True)
