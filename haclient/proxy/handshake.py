"""The TLS handshake at a door, before anything else is said.

A client in mid-handshake holds a place, and whoever says nothing, or half of it, holds it for nothing: it
is inside like others, makes way like one that has never said anything, and has header_timeout for all of it.
One that fails is told in TLS's own words (an alert), one that speaks HTTP without TLS in HTTP.
"""

from __future__ import annotations

import ssl

import trio

from haclient.core.config import Mode
from haclient.errors import ProxyStatus
from haclient.net.tls_server import HandshakeError, TlsTransport
from haclient.net.transport import SocketTransport
from haclient.proxy.admission import turn_away
from haclient.proxy.client_side import name_of
from haclient.proxy.door import Door
from haclient.proxy.gateway import Gateway
from haclient.proxy.record import Reason
from haclient.proxy.refuse import new_request_id
from haclient.proxy.reply import refusal
from haclient.types import Instant

__all__ = ["Handshake", "shake_hands"]

BAD_REQUEST = 400

TOO_SLOW = "the handshake took too long"


class Handshake:
    """A client in mid-handshake, as its door and the vigil see it.

    Attributes:
        has_expired: it had its time.
    """

    is_outstanding = False

    def __init__(self, deadline: Instant) -> None:
        self.scope = trio.CancelScope()
        self.has_expired = False
        self._deadline = deadline

    def look(self, now: Instant) -> None:
        """Ends what has lasted too long."""
        if now >= self._deadline:
            self.has_expired = True
            self.scope.cancel()

    def cancel(self) -> None:
        """Ends it now."""
        self.scope.cancel()

    def make_way(self) -> bool:
        """Another client needs the place."""
        self.scope.cancel()
        return True


async def shake_hands(
    gateway: Gateway, door: Door, transport: SocketTransport, context: ssl.SSLContext
) -> TlsTransport | None:
    """The connection in TLS; None where it came to nothing, and is closed."""
    now = trio.current_time()
    one = Handshake(now + door.settings.header_timeout)
    secure = TlsTransport(transport, context)
    door.inside.add(one)
    door.begin_waiting(one, now, has_spoken=False)
    error: HandshakeError | None = None
    has_succeeded = False
    try:
        with one.scope:
            await secure.shake_hands()
            has_succeeded = True
    except HandshakeError as exc:
        error = exc
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass  # the client left
    except Exception as exc:
        gateway.tell_fault(exc)
    finally:
        door.end_waiting(one)
        door.inside.discard(one)
        if not has_succeeded and error is None:
            transport.close()
    if error is not None:
        request_id = new_request_id() if _is_told_in_http(door, error) else ""
        if not error.is_nothing:
            client = name_of(transport)
            gateway.note_turned_away(door, client, Reason.TLS, str(error), request_id)
        words = _in_http(request_id) if request_id else error.alert
        await turn_away(door, transport, words, has_spoken=True)
    elif one.has_expired and not has_succeeded:
        gateway.note_turned_away(door, name_of(transport), Reason.TLS, TOO_SLOW)
    return secure if has_succeeded else None


def _is_told_in_http(door: Door, error: HandshakeError) -> bool:
    return error.is_http and door.settings.mode is not Mode.TCP


def _in_http(request_id: str) -> bytes:
    return refusal(
        BAD_REQUEST,
        "this door speaks TLS: write https:// in place of http://",
        is_head=False,
        request_id=request_id,
        error=ProxyStatus.HTTP_REQUEST_ERROR,
    )
