"""haclient: a highly available request client for automated programs.

    async with haclient.Client(window=4.0) as client:
        response = await client.get("http://orders.internal:8080/v1/orders/7")

Five layers, imports only downward: `ops → proxy → engine → net → core`; types, errors and events
lie under all of them, `client` is the face of `engine`. tests/meta/test_layers.py holds the rule.

The names below are the library; each is imported when it is first used, so that a command which
needs none of them starts in a few milliseconds.
"""

from __future__ import annotations

import importlib

from haclient._version import __version__

TYPE_CHECKING = False  # as typing's, whose import takes longer than all else here
if TYPE_CHECKING:
    from haclient.client import Client as Client
    from haclient.core.spec import IdempotencyKey as IdempotencyKey
    from haclient.core.spec import Target as Target
    from haclient.core.spec import TlsSettings as TlsSettings
    from haclient.errors import *  # noqa: F403  (the tree, name by name, in errors.__all__)
    from haclient.response import Headers as Headers
    from haclient.response import Response as Response
    from haclient.types import AttemptRecord as AttemptRecord
    from haclient.types import Order as Order
    from haclient.types import Verdict as Verdict

_HOMES = {
    "Client": "haclient.client",
    "Headers": "haclient.response",
    "Response": "haclient.response",
    "Order": "haclient.types",
    "IdempotencyKey": "haclient.core.spec",
    "Target": "haclient.core.spec",
    "TlsSettings": "haclient.core.spec",
    "AttemptRecord": "haclient.types",
    "Verdict": "haclient.types",
}

__all__ = [
    "AttemptRecord",
    "Client",
    "Headers",
    "IdempotencyKey",
    "Order",
    "Response",
    "Target",
    "TlsSettings",
    "Verdict",
    "__version__",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        errors = importlib.import_module("haclient.errors")
        if name in errors.__all__:
            return getattr(errors, name)
        raise AttributeError(f"module 'haclient' has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)
