"""Interrupts while a command's modules are imported.

An import of trio, ssl and the rest takes 100 ms, most of a quick command's life, and Python raises
KeyboardInterrupt wherever it is just then. Inside of an import that may be a weakref's callback, of which
nothing can be raised: CPython 3.11 prints a traceback ("Exception ignored in: <function
_get_module_lock...>") and goes on, as if nobody had pressed Ctrl-C. Nothing has been opened or begun so
early, so there the process ends at once, with the code that an interrupt gives later too.

Left out: what is imported once a request is under way. It is little, and rare.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["INTERRUPTED", "ends_at_once"]

INTERRUPTED = 130
"""128 and the signal's number, as a shell has it."""


@contextmanager
def ends_at_once() -> Iterator[None]:
    """While modules are imported: an interrupt ends the process there and then.

    Only where an interrupt would raise KeyboardInterrupt: who ignores it, or handles it, goes on doing so.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _end(*_: object) -> None:
    os._exit(INTERRUPTED)
