"""An https origin on the simulated network: real TLS over simulated bytes.

It answers "METHOD target content" to whatever it is asked, with the request's own X-Request-Id, until the
client closes.
"""

from __future__ import annotations

import ssl
from pathlib import Path

import h11
import trio
import trustme

from haclient.core.spec import Target, TlsSettings
from haclient.types import Endpoint
from tests.sim.stream import SimStream
from tests.support.certificates import server_context, write_ca

__all__ = ["SECURE", "TlsOrigin"]

SECURE = Endpoint("10.0.0.1", 443)
"""Where a.test is served over TLS."""


class TlsOrigin:
    """One authority, one certificate; `script` is for World.listen.

    Args:
        directory: where the authority's certificate is written.
    """

    def __init__(self, directory: Path) -> None:
        authority = trustme.CA()
        self._context = server_context(authority, "a.test")
        self.tls = TlsSettings(ca_file=write_ca(authority, directory / "ca.pem"))
        self.target = Target(urls=["https://a.test/"], tls=self.tls)
        self.executed: list[bytes] = []
        """What it has answered, in order."""

    @property
    def context(self) -> ssl.SSLContext:
        """The server's."""
        return self._context

    async def script(self, stream: SimStream) -> None:
        """Serves one connection."""
        secure = trio.SSLStream(stream, self._context, server_side=True)
        try:
            while await self._exchange(secure):
                pass
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.RemoteProtocolError):
            pass  # the client has gone, in whatever state
        finally:
            stream.close()

    async def _exchange(self, stream: trio.SSLStream[SimStream]) -> bool:
        http = h11.Connection(h11.SERVER)
        head, content = None, b""
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                http.receive_data(bytes(await stream.receive_some()))
            elif isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                content += event.data
            elif isinstance(event, h11.EndOfMessage):
                break
            else:
                return False
        assert head is not None
        text = b" ".join([head.method, head.target, content])
        self.executed.append(text)
        wanted = [(name, value) for name, value in head.headers if name == b"x-request-id"]
        fields = [(b"Content-Length", b"%d" % len(text)), *wanted]
        answer = http.send(h11.Response(status_code=200, headers=fields)) or b""
        answer += http.send(h11.Data(data=text)) or b""
        await stream.send_all(answer + (http.send(h11.EndOfMessage()) or b""))
        return True
