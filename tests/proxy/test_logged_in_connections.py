"""NTLM and Negotiate log in on a connection: it serves the client who did so, and nobody after it."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from tests.proxy.house import ONE, House, house
from tests.sim.origin import Reply

CHALLENGE = (b"WWW-Authenticate", b"Basic realm=x, NTLM")


def have_reused(h: House) -> list[bool]:
    return [record.attempts[0].reused for record in h.records]


@pytest.mark.parametrize(
    ("credentials", "is_shared"),
    [
        pytest.param("NTLM TlRMTVNTUAADAAAA", False, id="NTLM"),
        pytest.param("Negotiate YIIJ", False, id="Negotiate"),
        pytest.param("Kerberos YIIJ", False, id="Kerberos"),
        pytest.param("Basic YW5uOng=", True, id="Basic"),
    ],
)
async def test_what_a_client_logged_in_on(
    autojump_clock: MockClock, credentials: str, is_shared: bool
) -> None:
    async with house(target=ONE) as h:
        await h.ask(200, 0.0)
        await h.ask(200, 0.0, fields=f"Authorization: {credentials}|")
        await h.ask(200, 0.0)
        assert have_reused(h) == [False, True, is_shared]


@pytest.mark.parametrize(
    ("status", "field", "is_shared"),
    [
        pytest.param(401, CHALLENGE, False, id="a challenge"),
        pytest.param(407, (b"Proxy-Authenticate", b"Negotiate"), False, id="a proxy's"),
        pytest.param(401, (b"WWW-Authenticate", b"Basic realm=x"), True, id="Basic"),
    ],
)
async def test_where_a_login_has_begun(
    autojump_clock: MockClock, status: int, field: tuple[bytes, bytes], is_shared: bool
) -> None:
    async with house(target=ONE) as h:
        h.a.reply = Reply(status, b"who are you?", fields=(field,))
        await h.ask(status, 0.0)
        h.a.reply = Reply()
        await h.ask(200, 0.0)
        assert have_reused(h) == [False, is_shared]


async def test_a_challenge_in_a_head_of_no_common_form(autojump_clock: MockClock) -> None:
    async with house(target=ONE) as h:
        h.a.reply = Reply(401, b"who are you?", fields=(CHALLENGE, (b"Upgrade", b"x")))
        await h.ask(401, 0.0)
        h.a.reply = Reply()
        await h.ask(200, 0.0)
        assert have_reused(h) == [False, False]
