"""Whether a door lets in others than this machine's programs: one rule for what is written and what is inherited."""

from __future__ import annotations

import pytest

from haclient.core.config import AuthSettings, DoorTls, Mode, parse_bind
from haclient.core.openness import Openness, asks_in_tls, openness

NOBODY_ASKED = "others on the network can use it, and nobody is asked who he is"
IN_THE_CLEAR = "passwords would cross the network as they are"


def judged(text: str, **given: bool) -> Openness | None:
    values = {"asks": False, "has_auth": False, "is_public": False, **given}
    return openness(parse_bind(text), **values)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["127.0.0.1:81", "[::1]:81", "127.9.9.9:81", "unix:/run/a"])
@pytest.mark.parametrize("has_auth", [False, True])
def test_what_only_this_machine_can_reach(text: str, has_auth: bool) -> None:
    assert judged(text, has_auth=has_auth) is None


@pytest.mark.parametrize("text", ["0.0.0.0:81", "[::]:81", "10.0.0.1:81", "[2001:db8::1]:81"])
@pytest.mark.parametrize(("has_auth", "problem"), [(False, NOBODY_ASKED), (True, IN_THE_CLEAR)])
def test_what_others_can_reach(text: str, has_auth: bool, problem: str) -> None:
    found = judged(text, has_auth=has_auth)

    assert found is not None
    assert found.problem == problem
    assert judged(text, has_auth=has_auth, is_public=True) is None
    assert judged(text, has_auth=has_auth, asks=True) is None


@pytest.mark.parametrize(
    ("mode", "is_inherited", "has_auth", "wanted"),
    [
        (
            Mode.REVERSE,
            False,
            False,
            'write bind = "127.0.0.1:81", or client_ca_file in tls, or auth with tls, '
            "or public = true if that is meant",
        ),
        (
            Mode.TCP,
            False,
            False,
            'write bind = "127.0.0.1:81", or client_ca_file in tls, or public = true if that is meant',
        ),
        (
            Mode.FORWARD,
            True,
            False,
            "write ListenStream=127.0.0.1:81 in its unit, or client_ca_file in tls, or auth with tls, "
            "or public = true if that is meant",
        ),
        (
            None,
            False,
            True,
            'write tls, bind = "127.0.0.1:81", or public = true if something else encrypts',
        ),
        (
            Mode.REVERSE,
            True,
            True,
            "write tls, ListenStream=127.0.0.1:81 in its unit, or public = true if something else encrypts",
        ),
    ],
)
def test_each_way_out_is_named(
    mode: Mode | None, is_inherited: bool, has_auth: bool, wanted: str
) -> None:
    """The safe ones first; passwords are no way out where there are no requests."""
    found = openness(
        parse_bind("0.0.0.0:81"),
        asks=False,
        has_auth=has_auth,
        is_public=False,
        mode=mode,
        is_inherited=is_inherited,
    )
    assert found is not None
    assert found.wanted == wanted


@pytest.mark.parametrize(
    ("tls", "auth", "asks"),
    [
        (None, None, False),
        (None, AuthSettings(users_file="u"), False),
        (DoorTls(cert_file="c"), None, False),
        (DoorTls(cert_file="c"), AuthSettings(users_file="u"), True),
        (DoorTls(cert_file="c", client_ca_file="a"), None, True),
    ],
)
def test_who_asks_so_that_nobody_on_the_way_can_read_it(
    tls: DoorTls | None, auth: AuthSettings | None, asks: bool
) -> None:
    assert asks_in_tls(tls, auth) is asks
