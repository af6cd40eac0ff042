"""Whether a message's credentials, or a challenge, speak of the connection and not of the request.

NTLM, and Negotiate where it means NTLM or is used as IIS does, authenticate a connection: whatever comes on it
afterwards is Alice's, whoever sends it (RFC 4559, section 6). That is not HTTP's way (each request
stands for itself: RFC 9110, section 3.3, which names the offender), and a pool that does not know of it hands Bob the connection that Alice has logged in on.
Their kin does the same: Negotiate:Kerberos and Nego2 of Windows, Kerberos and CredSSP of its remote management.
So a connection on which one of these schemes was spoken serves nobody else: it is closed behind that exchange.

Left out: to keep it for the same client's next request, as such a handshake wants. A server connection would belong
to a client connection then, with no resend, no other server and no pool: what a TCP listener does already.
"""

from __future__ import annotations

import re

from haclient.types import Fields

__all__ = ["CHALLENGES", "CREDENTIALS", "is_challenged", "is_of_connection"]

CREDENTIALS = frozenset({b"authorization", b"proxy-authorization"})

CHALLENGES = {401: b"www-authenticate", 407: b"proxy-authenticate"}

_SCHEME = rb"(?:nego|(?:ntlm|kerberos|credssp)(?:[\t ,:]|$))"
"""Whatever begins with "nego" is taken for one: to be wrong costs a connection, to miss one gives Alice's to Bob."""

_CREDENTIALS = re.compile(_SCHEME, re.IGNORECASE)

_CHALLENGES = re.compile(rb"(?:^|[\t ,])" + _SCHEME, re.IGNORECASE)
"""Anywhere in a list of them. In the text of a quoted string, too: that costs a connection, and nothing else."""


def is_of_connection(credentials: bytes) -> bool:
    """Whether these are of such a scheme; their first word says so, however long they are."""
    return _CREDENTIALS.match(credentials) is not None


def is_challenged(status: int, fields: Fields) -> bool:
    """Whether an answer asks for such credentials; one that does may have a part of them already."""
    asking = CHALLENGES.get(status)
    return asking is not None and any(
        name.lower() == asking and _CHALLENGES.search(value) for name, value in fields
    )
