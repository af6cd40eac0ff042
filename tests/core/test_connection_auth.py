"""Which credentials, and which challenges, speak of the connection."""

from __future__ import annotations

import pytest

from haclient.core.connection_auth import is_challenged, is_of_connection
from haclient.types import Fields


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(b"NTLM TlRMTVNTUAADAAAA", True, id="NTLM"),
        pytest.param(b"Negotiate YIIJ", True, id="Negotiate"),
        pytest.param(b"negotiate YIIJ", True, id="in small letters"),
        pytest.param(b"NTLM", True, id="the bare word"),
        pytest.param(b"Negotiate:Kerberos YIIJ", True, id="Negotiate:Kerberos"),
        pytest.param(b"Nego2 YIIJ", True, id="Nego2"),
        pytest.param(b"nego", True, id="the bare beginning"),
        pytest.param(b"Kerberos YIIJ", True, id="Kerberos"),
        pytest.param(b"KERBEROS", True, id="Kerberos, bare"),
        pytest.param(b"NTLM:x y", True, id="NTLM of a kind"),
        pytest.param(b"CredSSP FgMB", True, id="CredSSP"),
        pytest.param(b"", False, id="nothing"),
        pytest.param(b"Basic TlRMTQ==", False, id="Basic"),
        pytest.param(b"Bearer ntlm.negotiate", False, id="Bearer"),
        pytest.param(b'Digest username="ntlm", realm="x"', False, id="Digest"),
        pytest.param(b"NTLMv9 x", False, id="another scheme"),
        pytest.param(b"Kerberos5 x", False, id="yet another"),
        pytest.param(b"Renegotiate x", False, id="one that ends so"),
        pytest.param(b"Basic Kerberos", False, id="not the first word"),
    ],
)
def test_which_credentials(value: bytes, expected: bool) -> None:
    assert is_of_connection(value) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param(b"Negotiate", True, id="alone"),
        pytest.param(b"NTLM TlRMTVNTUAACAAAA", True, id="with a part of it"),
        pytest.param(b'Basic realm="x", NTLM', True, id="one of two"),
        pytest.param(b'negotiate,Basic realm="x"', True, id="the other of two"),
        pytest.param(b"Negotiate:Kerberos", True, id="Negotiate:Kerberos"),
        pytest.param(b'Basic realm="x",Negotiate:Kerberos, NTLM', True, id="in the middle"),
        pytest.param(b'Basic realm="x", Nego2', True, id="Nego2"),
        pytest.param(b"Kerberos", True, id="Kerberos"),
        pytest.param(b'Basic realm="x",\tkerberos YIIJ', True, id="Kerberos behind a tab"),
        pytest.param(b"CredSSP", True, id="CredSSP"),
        pytest.param(b'Basic realm="to nego"', True, id="in a text, which costs a connection"),
        pytest.param(b"", False, id="nothing"),
        pytest.param(b'Digest realm="ntlm", nonce="negotiate"', False, id="Digest"),
        pytest.param(b'Basic realm="kerberos", x="nego2"', False, id="Basic"),
        pytest.param(b"Renegotiate, Kerberos5", False, id="others"),
    ],
)
def test_which_challenges(value: bytes, expected: bool) -> None:
    assert is_challenged(401, ((b"WWW-Authenticate", value),)) is expected


@pytest.mark.parametrize(
    ("status", "fields", "expected"),
    [
        pytest.param(401, ((b"WWW-Authenticate", b"NTLM"),), True, id="a server"),
        pytest.param(407, ((b"Proxy-Authenticate", b"Negotiate"),), True, id="a proxy"),
        pytest.param(
            401,
            ((b"WWW-Authenticate", b"Basic"), (b"www-authenticate", b"NTLM")),
            True,
            id="the second field",
        ),
        pytest.param(401, ((b"WWW-Authenticate", b"Basic"),), False, id="Basic"),
        pytest.param(401, ((b"X-Other", b"NTLM"),), False, id="another field"),
        pytest.param(401, ((b"Proxy-Authenticate", b"NTLM"),), False, id="not the status's own"),
        pytest.param(200, ((b"WWW-Authenticate", b"NTLM"),), False, id="another status"),
    ],
)
def test_which_answers(status: int, fields: Fields, expected: bool) -> None:
    assert is_challenged(status, fields) is expected
