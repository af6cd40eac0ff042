"""Whether a request may run twice: by its method, or by its Idempotency-Key; and a key for one without.

Safe and idempotent methods may (RFC 9110, sections 9.2.1 and 9.2.2). By the field a server knows any request
again (draft-ietf-httpapi-idempotency-key-header): it executes the first one that bears a key, and gives the
same answer to whatever comes with that key later. So a POST that bears one may be sent again. The naive
sidecar adds a key to each attempt, and then nobody knows anything again; ours belongs to the request, before
its first attempt, and every attempt bears the same bytes.

Only where the target says that its servers honour keys (`idempotency_key = "generate"`): to a server that
does not look at it the field is noise, and the second POST a second order. Left out: what the servers make
of a key, and telling whether they do; and whether it is sent again (haclient.core.retry).
"""

from __future__ import annotations

import msgspec

from haclient.types import Fields

__all__ = ["IDEMPOTENT_METHODS", "SAFE_METHODS", "RequestFacts", "bears_key", "new_key", "with_key"]

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})
"""RFC 9110, section 9.2.1."""

IDEMPOTENT_METHODS = SAFE_METHODS | {"PUT", "DELETE"}
"""RFC 9110, section 9.2.2."""

NAME = b"Idempotency-Key"


class RequestFacts(msgspec.Struct, frozen=True):
    """What of a request the decision needs."""

    method: str
    has_idempotency_key: bool = False

    @property
    def is_safe(self) -> bool:
        """Whether a second run beside the first does no harm."""
        return self.method in SAFE_METHODS

    @property
    def is_idempotent(self) -> bool:
        """Whether a second run after the first does no harm."""
        return self.method in IDEMPOTENT_METHODS or self.has_idempotency_key


def bears_key(fields: Fields) -> bool:
    """Whether a request bears an Idempotency-Key that a server can know it by.

    One field with a key in it: an empty or blank one, an empty string of RFC 8941, or two fields name
    nothing, and the request is what its method says.
    """
    keys = _keys(fields)
    return len(keys) == 1 and keys[0].strip(b' \t"') != b""


def new_key(chance: bytes) -> bytes:
    """A key as the draft has it, a string of RFC 8941 (in quotes) with a UUID in it.

    Args:
        chance: 16 bytes that nobody can guess, for whoever knows a key may get its answer.
    """
    raw = bytearray(chance)
    # RFC 9562, section 5.4. By hand: the standard module takes longer to import than a request to plan.
    raw[6] = raw[6] & 0x0F | 0x40
    raw[8] = raw[8] & 0x3F | 0x80
    text = raw.hex()
    return f'"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"'.encode()


def with_key(fields: Fields, key: bytes) -> Fields:
    """The fields with this key, where they name none.

    Fields that name nothing make way for it. Two that name something are the client's own contradiction:
    they go out as they are, and the request is not known by them.
    """
    if any(each.strip(b' \t"') for each in _keys(fields)):
        return fields
    return (*(one for one in fields if one[0].lower() != b"idempotency-key"), (NAME, key))


def _keys(fields: Fields) -> list[bytes]:
    return [value for name, value in fields if name.lower() == b"idempotency-key"]
