"""Users and passwords: what a line is, what is no line, and who is let in."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from haclient.core.users import (
    MAX_NAME,
    MAX_PASSWORD,
    SALT_BYTES,
    Cost,
    User,
    Users,
    basic_credentials,
    checked_name,
    new_user,
    with_user,
)

CHEAP = Cost(10, 1, 1)
SALT = bytes(range(SALT_BYTES))
ANN = new_user("ann", "open sesame", SALT, CHEAP)
BOB = new_user("bob", "pass:word ü", SALT[::-1], CHEAP)
HASH = "$scrypt$ln=10,r=1,p=1$" + "A" * 22 + "$" + "A" * 43


def parsed(*lines: str) -> Users:
    return Users.parse("\n".join(lines))


def test_a_line_and_back() -> None:
    users = parsed("# people", "", str(ANN), f"  {BOB}\r")

    assert users.by_name == {"ann": ANN, "bob": BOB}
    assert str(ANN).startswith("ann:$scrypt$ln=10,r=1,p=1$AAECAwQFBgcICQoLDA0ODw$")


def test_the_hash_is_scrypt_as_everybody_has_it() -> None:
    user = new_user("ann", "open sesame", SALT)
    expected = hashlib.scrypt(b"open sesame", salt=SALT, n=16384, r=8, p=1, dklen=32)

    assert user.cost == Cost(14, 8, 1)
    assert user.digest == expected
    assert str(user).endswith(base64.b64encode(expected).decode().rstrip("="))


@pytest.mark.parametrize(
    ("name", "password", "who"),
    [
        ("ann", "open sesame", ANN),
        ("bob", "pass:word ü", BOB),
        ("ann", "open sesame ", None),
        ("ann", "", None),
        ("Ann", "open sesame", None),
        ("bob", "open sesame", None),
        ("eve", "open sesame", None),
        ("", "", None),
    ],
)
def test_who_is_let_in(name: str, password: str, who: User | None) -> None:
    assert parsed(str(ANN), str(BOB)).verify(name, password) == who


def test_nobody_is_let_in_where_there_is_no_user() -> None:
    assert parsed().verify("", "") is None


DEAR = new_user("dee", "x", SALT, Cost(12, 1, 2))


@pytest.mark.parametrize(
    "lines", [(ANN, BOB), (ANN, BOB, DEAR), (DEAR, BOB, ANN), (DEAR,), ()], ids=len
)
def test_a_check_costs_the_same_whoever_is_meant(
    lines: tuple[User, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where lines differ in cost, too: the time must not tell which names there are."""
    users = parsed(*map(str, lines))
    scrypt, spent = hashlib.scrypt, list[tuple[int, int, int]]()

    def counted(password: bytes, *, n: int, r: int, p: int, **rest: Any) -> bytes:
        spent.append((n, r, p))
        return scrypt(password, n=n, r=r, p=p, **rest)

    monkeypatch.setattr(hashlib, "scrypt", counted)
    costs = []
    for name in ("ann", "bob", "dee", "eve", ""):
        spent.clear()
        for password in ("open sesame", "pass:word ü", "x"):
            right = next((one for one in lines if one.name == name), None)
            found = users.verify(name, password)
            assert found in (None, right)
        costs.append(sorted(spent))
    assert costs[0]
    assert costs == [costs[0]] * len(costs)


def test_neither_hash_nor_password_is_shown() -> None:
    shown = repr(parsed(str(ANN))) + repr(ANN)
    assert shown == "<Users: 1><User ann>"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("ann", "there is no colon behind the user's name"),
        ("ann:$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC", "no hash of ours"),
        ("ann:{SHA}VBPuJHI7uixaa6LQGWx4s+5GKNE=", "no hash of ours"),
        ("ann:secret", "no hash of ours"),
        (f"ann:{HASH}A", "no hash of ours"),
        (f":{HASH}", "a user's name has 1 to"),
        ("a\tb:" + HASH, "control characters"),
        ("ann:" + HASH.replace("ln=10", "ln=09"), "is too cheap, or takes more than 64 MiB"),
        ("ann:" + HASH.replace("ln=10", "ln=31"), "is too cheap, or takes more"),
        ("ann:" + HASH.replace("r=1", "r=0"), "is too cheap, or takes more"),
        ("ann:" + HASH.replace("p=1", "p=0"), "is too cheap, or takes more"),
        (str(ANN), "that user has a line already"),
    ],
)
def test_a_line_that_is_none(line: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        parsed("# x", str(ANN), line)

    assert str(caught.value).startswith("line 3: ")
    secret = line.partition(":")[2]
    assert not secret or secret not in str(caught.value)


@pytest.mark.parametrize("name", ["", " ann", "ann ", "#ann", "a:b", "a\nb", "\udc80", "a" * 256])
def test_names_that_no_client_could_send(name: str) -> None:
    with pytest.raises(ValueError, match="a user's name"):
        checked_name(name)


@pytest.mark.parametrize("name", ["a", "orders job", "Jürgen", "x#", "a" * MAX_NAME])
def test_names(name: str) -> None:
    assert checked_name(name) == name


@pytest.mark.parametrize("password", ["", "a\nb", "a\x00", "\udcff", "ü" * 513])
def test_passwords_that_no_client_could_send(password: str) -> None:
    with pytest.raises(ValueError, match="a password"):
        new_user("ann", password, SALT, CHEAP)


# --- the text of the file -------------------------------------------------------------------------


def test_another_line_for_a_user() -> None:
    other = new_user("ann", "x", SALT, CHEAP)
    text = f"# people\n\n{ANN}\n# the job\n{BOB}\n"

    assert with_user(text, "ann", other) == (f"# people\n\n{other}\n# the job\n{BOB}\n", True)


def test_a_user_more() -> None:
    assert with_user("", "ann", ANN) == (f"{ANN}\n", False)
    assert with_user(f"{ANN}\n\n", "bob", BOB) == (f"{ANN}\n{BOB}\n", False)
    assert with_user(f"{ANN}", "bob", BOB) == (f"{ANN}\n{BOB}\n", False)


def test_a_user_less() -> None:
    assert with_user(f"{ANN}\n{BOB}\n", "ann", None) == (f"{BOB}\n", True)
    assert with_user(f"{ANN}\n{ANN}\n{BOB}", "ann", None) == (f"{BOB}\n", True)
    assert with_user(f"{ANN}\n", "bob", None) == (f"{ANN}\n", False)


# --- the field ------------------------------------------------------------------------------------


def field(text: str | bytes) -> bytes:
    return b"Basic " + base64.b64encode(text if isinstance(text, bytes) else text.encode())


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (field("ann:open sesame"), ("ann", "open sesame")),
        (field("ann:a:b"), ("ann", "a:b")),
        (field("ann:"), ("ann", "")),
        (field("jürgen:ü"), ("jürgen", "ü")),
        (b"bAsIc   YTpi  ", ("a", "b")),
        (b"Basic", None),
        (b"Basic ", None),
        (b"Bearer YTpi", None),
        (b"Basic YTpi YTpi", None),
        (b"Basic YTp", None),
        (b"Basic YT=pi", None),
        (b"Basic Y", None),
        (field("ann"), None),
        (field(b"ann:\xff"), None),
        (field("ann:a\nb"), None),
        (field("a\0nn:ab"), None),
        (field("ann:" + "x" * (MAX_PASSWORD + 1)), None),
    ],
)
def test_basic_credentials(value: bytes, found: tuple[str, str] | None) -> None:
    assert basic_credentials(value) == found


@given(
    st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=20),
    st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=50),
)
@settings(max_examples=30)
def test_what_is_written_lets_in(name: str, password: str) -> None:
    user = new_user(name, password, SALT, CHEAP)
    users = Users.parse(with_user("", name, user)[0])

    assert basic_credentials(field(f"{name}:{password}")) == (name, password)
    assert users.verify(name, password) == user
    assert users.verify(name, password + "x") is None


@given(st.binary(max_size=200))
def test_no_bytes_upset_it(value: bytes) -> None:
    found = basic_credentials(b"Basic " + base64.b64encode(value))
    assert found is None or value.decode() == ":".join(found)
    basic_credentials(value)
