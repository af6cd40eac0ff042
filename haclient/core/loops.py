"""Whether a request has gone round in circles, by its Via fields (RFC 9110, section 7.6.3).

Each haclient on the way adds its name. The naive answer refuses whoever has been here once; but several of
them in a row are no loop: a sidecar, a forward proxy, and a reverse listener before the servers, all of one
name, each see the others'. So a number of rounds is let through, and the request that would go further ends.

A comma or a name inside a comment is no member of the list (section 5.6.5): comments may be nested and hold
quoted pairs. Nobody is misled by a Via that is malformed, only counted as far as it can be read.

Left out: a circle whose hops add no Via (via = false), which ends where a target's max_connections do. What
keeps a process from dialling itself is in haclient.net.own_doors.
"""

from __future__ import annotations

__all__ = ["MOST_PASSES", "PSEUDONYM", "times_passed"]

PSEUDONYM = b"haclient"
"""What each of us calls itself in Via."""

MOST_PASSES = 4
"""Four in a row are served: a sidecar, a forward proxy on the way out, a reverse listener on the way in, and one
more. A fifth finds four names. A circle costs that many hops and no more."""

OPENS, CLOSES, QUOTES = b"()\\"

DEEPER = {OPENS: 1, CLOSES: -1}
"""How much further inside comments one is behind a parenthesis."""


def times_passed(via: bytes) -> int:
    """How often the request has come through a haclient.

    Args:
        via: all Via fields, put together with commas.
    """
    if PSEUDONYM not in via.lower():
        return 0
    members = _without_comments(via.lower()).split(b",")
    return sum(_received_by(member) == PSEUDONYM for member in members)


def _received_by(member: bytes) -> bytes:
    """Who passed it on: behind the protocol, without a port."""
    words = member.split()
    return words[1].partition(b":")[0] if len(words) > 1 else b""


def _without_comments(value: bytes) -> bytes:
    """RFC 9110, section 5.6.5; one that is never closed lasts to the end."""
    kept, depth, is_quoted = bytearray(), 0, False
    for byte in value:
        before = depth
        if not is_quoted and (depth or byte == OPENS):
            depth += DEEPER.get(byte, 0)
        is_quoted = not is_quoted and before > 0 and byte == QUOTES
        if not before and not depth:
            kept.append(byte)
    return bytes(kept)
