"""What the decision to resend needs to know of a request, and the key that it is given for that.

Both ways in (the daemon's doors, the library) come through here once for each request; a method that is
idempotent is done with after one look into a cache.
"""

from __future__ import annotations

import functools
import os

from haclient.core.idempotency import RequestFacts, bears_key, new_key, with_key
from haclient.core.spec import IdempotencyKey
from haclient.types import Fields

__all__ = ["as_keyed", "facts_of"]


@functools.lru_cache(maxsize=64)
def facts_of(method: str, *, has_key: bool = False) -> RequestFacts:
    """The facts of a request with or without an honoured key."""
    return RequestFacts(method, has_key)


def as_keyed(method: str, fields: Fields, meaning: IdempotencyKey) -> tuple[Fields, RequestFacts]:
    """The fields as every attempt is to bear them, and what follows from them."""
    facts = facts_of(method)
    if facts.is_idempotent or meaning is IdempotencyKey.IGNORE:
        return fields, facts
    if meaning is IdempotencyKey.GENERATE:
        # From the kernel: Python's own generator can be reckoned on by who has seen enough of it.
        fields = with_key(fields, new_key(os.urandom(16)))
    return fields, facts_of(method, has_key=bears_key(fields))
