"""The corpus as a forward proxy is asked: whatever a client says for itself is in absolute-form.

A forward listener serves no path alone, and so would refuse nearly every case for that, and not for what the case
is about. So each request line in origin-form gets `http://a.test` before its path: that of the case, of those that go
before it, of the one behind it. What is hidden stays as it is, for it is what a server would read, not the
proxy. What may become of a case is the same; only of what stands in OF_ANOTHER_FORM a forward proxy has its own view.
"""

from __future__ import annotations

import re
from dataclasses import replace

from tests.corpus.case import RequestCase, ResponseCase

__all__ = ["OF_ANOTHER_FORM", "absolute", "absolute_form"]

HOST = b"http://a.test"

LINE = re.compile(rb"\A[^ \r\n]+ (?=/)|[A-Z] (?=/(?!smuggled|poison)[^ \r\n]* HTTP/)")
"""What stands before the path: of the first line, whatever it looks like; and of a further one."""

OF_ANOTHER_FORM = {
    "pipeline/connect": "CONNECT is a tunnel here, and what follows is its bytes",
    "target/connect": "CONNECT is a tunnel here",
    "target/asterisk-with-options": "400: of the proxy itself nothing is asked in this way",
    "target/absolute-https": "501: https:// is reached by CONNECT",
}
"""Cases that are about what only a gateway says, and what a forward proxy says instead."""


def absolute_form(wire: bytes) -> bytes:
    """The same requests, to a forward proxy."""
    return LINE.sub(lambda found: found[0] + HOST, wire)


def absolute(case: RequestCase | ResponseCase) -> RequestCase | ResponseCase:
    """The same case, to a forward proxy."""
    if isinstance(case, RequestCase):
        return replace(case, wire=absolute_form(case.wire))
    return replace(case, ask=absolute_form(case.ask))
