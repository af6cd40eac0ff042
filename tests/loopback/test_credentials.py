"""Basic users at a door, on real sockets: who is asked, who is served, and what a guesser costs."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from msgspec.structs import replace

from haclient.core.config import AuthSettings, Config
from haclient.core.turns import MOST, MOST_OF_ONE
from haclient.core.users import Cost, Users, new_user
from haclient.proxy.credentials import KEPT_RIGHT, Checker, Decision, Guard
from haclient.proxy.door import IDLE_GRACE
from haclient.proxy.record import Outcome, TurnedAway
from haclient.proxy.trust import TrustError
from tests.loopback.test_sidecar import ANY, Scene, scene
from tests.support.loopback import eventually

CHEAP = Cost(10, 8, 1)
ANN = new_user("ann", "open sesame", bytes(16), CHEAP)
BOB = new_user("bob", "x", bytes(16), CHEAP)


def basic(text: str) -> bytes:
    return b"Authorization: Basic " + base64.b64encode(text.encode()) + b"\r\n"


RIGHT, WRONG = basic("ann:open sesame"), basic("ann:close sesame")


def write(path: Path, *users: object) -> None:
    path.touch(0o600)
    path.write_text("".join(f"{user}\n" for user in users))


def make_public(path: Path) -> None:
    path.chmod(0o644)


def asking(s: Scene, path: Path) -> Config:
    config = s.config(ANY)
    auth = AuthSettings(users_file=str(path), realm="orders")
    return replace(config, listeners=(replace(config.listeners[0], auth=auth),))


@asynccontextmanager
async def door_for(path: Path) -> AsyncIterator[tuple[Scene, list[TurnedAway]]]:
    turned_away: list[TurnedAway] = []
    async with scene(ANY) as s:
        s.sidecar.gateway.tell_turned_away = turned_away.append
        s.sidecar.apply(asking(s, path))
        yield s, turned_away


async def say(
    stream: trio.SocketStream, *fields: bytes, start: bytes = b"GET /x HTTP/1.1"
) -> bytes:
    await stream.send_all(start + b"\r\nHost: shop\r\n" + b"".join(fields) + b"\r\n")
    return await whole_answer(stream, is_head=start.startswith(b"HEAD"))


async def whole_answer(stream: trio.abc.Stream, *, is_head: bool = False) -> bytes:
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += await stream.receive_some() or b"\r\n\r\n"
    head, _, content = answer.partition(b"\r\n\r\n")
    found = re.search(rb"\r\nContent-Length: (\d+)", head)
    left = int(found[1]) - len(content) if found and not is_head else 0
    while left > 0:
        piece = await stream.receive_some()
        answer, left = answer + piece, left - len(piece)
    return answer


async def ask(s: Scene, *fields: bytes, start: bytes = b"GET /x HTTP/1.1") -> bytes:
    async with await s.connect() as stream:
        return await say(stream, *fields, start=start)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "users"
    write(file, ANN)
    return file


async def test_a_user_is_served_again_and_again(path: Path) -> None:
    async with door_for(path) as (s, turned_away), await s.connect() as stream:
        for _ in range(3):
            assert (await say(stream, RIGHT)).startswith(b"HTTP/1.1 200 OK")
        assert turned_away == []


async def test_who_says_nothing_is_asked(path: Path) -> None:
    async with door_for(path) as (s, turned_away):
        answer = await ask(s)
        assert answer.startswith(b"HTTP/1.1 401 Unauthorized\r\n")
        assert b'\r\nWWW-Authenticate: Basic realm="orders", charset="UTF-8"\r\n' in answer
        assert b"error=http_request_denied" in answer
        assert b"\r\nConnection: close\r\n" in answer
        assert turned_away == [], "every browser asks without at first"
        assert (s.records[0].status, s.records[0].error) == (401, "http_request_denied")
        assert s.origin.executed == 0


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param(WRONG, id="a wrong password"),
        pytest.param(basic("eve:open sesame"), id="nobody's name"),
        pytest.param(RIGHT + RIGHT, id="two of them"),
    ],
)
async def test_who_is_wrong_is_not_served(path: Path, fields: bytes) -> None:
    async with door_for(path) as (s, turned_away):
        answer = await ask(s, fields)
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert b"wrong credentials" in answer
        assert [one.detail for one in turned_away] == ["wrong credentials"]
        assert s.sidecar.doors[0].turned_away == {"credentials": 1}
        assert s.origin.executed == 0
        told = repr(s.records) + repr(turned_away)
        assert "sesame" not in told
        assert "Basic" not in told


@pytest.mark.parametrize(
    "value",
    [b"Bearer x", b"", b"Basic", b"Basic %"],
    ids=["another scheme", "nothing", "no", "bad"],
)
async def test_who_shows_something_else_is_told_what_is_wanted(path: Path, value: bytes) -> None:
    """A token is no wrong password."""
    async with door_for(path) as (s, turned_away):
        answer = await ask(s, b"Authorization: " + value + b"\r\n")
        assert answer.startswith(b"HTTP/1.1 401 ")
        wanted = "this door wants a user and password by the Basic scheme (RFC 7617)"
        assert wanted.encode() in answer
        assert [one.detail for one in turned_away] == [wanted]
        assert s.sidecar.doors[0].turned_away == {"credentials": 1}


async def test_a_head_request_gets_no_content(path: Path) -> None:
    async with door_for(path) as (s, _):
        answer = await ask(s, start=b"HEAD /x HTTP/1.1")
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert answer.endswith(b"\r\n\r\n")


async def test_an_upload_is_not_read_before(path: Path) -> None:
    async with door_for(path) as (s, _):
        start = b"POST /x HTTP/1.1\r\nContent-Length: 1000000000\r\nExpect: 100-continue"
        assert (await ask(s, start=start)).startswith(b"HTTP/1.1 401 ")


# --- reload ---------------------------------------------------------------------------------------


async def test_a_reload_reads_the_users_again(path: Path) -> None:
    async with door_for(path) as (s, _), await s.connect() as stream:
        assert (await say(stream, RIGHT)).startswith(b"HTTP/1.1 200 ")
        assert (await ask(s, basic("bob:x"))).startswith(b"HTTP/1.1 401 ")
        write(path, BOB)
        s.sidecar.apply(asking(s, path))
        assert (await ask(s, basic("bob:x"))).startswith(b"HTTP/1.1 200 ")
        assert (await say(stream, RIGHT)).startswith(b"HTTP/1.1 401 "), "on an open connection too"


async def test_a_broken_file_changes_nothing(path: Path) -> None:
    async with door_for(path) as (s, _):
        make_public(path)
        with pytest.raises(TrustError, match=r"^listener door0: .* everybody can read it"):
            s.sidecar.apply(asking(s, path))
        assert (await ask(s, RIGHT)).startswith(b"HTTP/1.1 200 ")
        assert (await ask(s)).startswith(b"HTTP/1.1 401 ")


async def test_a_door_that_asks_no_more(path: Path) -> None:
    async with door_for(path) as (s, _):
        s.sidecar.apply(s.config(ANY))
        assert (await ask(s)).startswith(b"HTTP/1.1 200 ")


# --- what it costs --------------------------------------------------------------------------------


def guard(*users: object) -> Guard:
    return Guard(Users.parse("\n".join(map(str, users))), Checker())


def value(text: str) -> bytes:
    return b"Basic " + base64.b64encode(text.encode())


async def test_what_was_found_is_not_checked_again() -> None:
    costly = new_user("ann", "open sesame", bytes(16), Cost(15, 8, 1))
    one = guard(costly)
    assert await one.judge(value("ann:open sesame"), "a") is Decision.RIGHT
    assert await one.judge(value("ann:close sesame"), "a") is Decision.WRONG
    before = time.process_time()
    for _ in range(100):
        assert await one.judge(value("ann:open sesame"), "a") is Decision.RIGHT
        assert await one.judge(value("ann:close sesame"), "a") is Decision.WRONG
    assert time.process_time() - before < 0.1, "one check alone takes as long"


async def test_a_user_whose_line_stays_is_not_checked_again() -> None:
    costly = new_user("ann", "open sesame", bytes(16), Cost(15, 8, 1))
    one = guard(costly, BOB)
    assert await one.judge(value("ann:open sesame"), "a") is Decision.RIGHT
    assert await one.judge(value("bob:x"), "a") is Decision.RIGHT
    one.use(Users.parse(str(costly)))
    before = time.process_time()
    assert await one.judge(value("ann:open sesame"), "a") is Decision.RIGHT
    assert time.process_time() - before < 0.05, "a check takes twice as long"
    assert await one.judge(value("bob:x"), "a") is Decision.WRONG


async def test_what_is_remembered_has_a_bound() -> None:
    one = guard(ANN)
    user = one.users.by_name["ann"]
    one._right = {number.to_bytes(4, "big"): user for number in range(KEPT_RIGHT)}
    assert await one.judge(value("ann:open sesame"), "a") is Decision.RIGHT
    assert len(one._right) == KEPT_RIGHT
    assert bytes(4) not in one._right


async def test_a_reload_while_a_password_is_checked() -> None:
    """The decision is that of the users in force when it falls."""
    one = guard(new_user("ann", "open sesame", bytes(16), Cost(15, 8, 1)))
    said: list[Decision] = []

    async def ask_guard() -> None:
        said.append(await one.judge(value("ann:open sesame"), "a"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask_guard)
        await trio.testing.wait_all_tasks_blocked()
        one.use(Users.parse(str(BOB)))
    assert said == [Decision.WRONG]


async def test_addresses_take_turns() -> None:
    checker, order = Checker(), list[str]()

    async def wait(name: str) -> None:
        assert await checker.begin(name[0])
        order.append(name)
        checker.end()

    assert await checker.begin("x")
    async with trio.open_nursery() as nursery:
        for name in ("a1", "a2", "a3", "b1", "b2", "c1"):
            nursery.start_soon(wait, name)
            await trio.testing.wait_all_tasks_blocked()
        assert repr(checker) == "<Checker, 6 waiting>"
        checker.end()
    assert order == ["a1", "b1", "c1", "a2", "b2", "a3"]
    assert await checker.begin("x"), "it is free again"


async def test_of_one_address_only_so_many_wait() -> None:
    checker = Checker()
    assert await checker.begin("a")
    async with trio.open_nursery() as nursery:
        for _ in range(MOST_OF_ONE):
            nursery.start_soon(checker.begin, "a")
        await trio.testing.wait_all_tasks_blocked()
        assert not await checker.begin("a")
        nursery.start_soon(checker.begin, "b")
        nursery.cancel_scope.cancel()
    assert repr(checker) == "<Checker, 0 waiting>"
    checker.end()
    assert await checker.begin("a")


async def test_a_turn_that_comes_to_one_who_is_leaving_is_not_lost() -> None:
    checker = Checker()
    assert await checker.begin("a")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(checker.begin, "b")
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        checker.end()
    assert await checker.begin("c"), "it is free again"


async def test_one_who_is_sent_away_may_be_leaving() -> None:
    checker = Checker()
    assert await checker.begin("a")
    async with trio.open_nursery() as nursery:
        for number in range(MOST - 1):
            nursery.start_soon(checker.begin, str(number))
        await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as leaving:
            leaving.start_soon(checker.begin, "0")
            await trio.testing.wait_all_tasks_blocked()
            leaving.cancel_scope.cancel()
            await checker.begin("new")  # takes the place of the one who is leaving, and leaves too
        assert repr(checker) == f"<Checker, {MOST - 1} waiting>"
        nursery.cancel_scope.cancel()
    assert repr(checker) == "<Checker, 0 waiting>"


async def test_a_crowd_that_asks_the_same_pays_one_check(path: Path) -> None:
    """A program that opens its connections together is no crowd of guessers, though it is more than may wait."""
    async with door_for(path) as (s, _):
        answers: list[bytes] = []

        async def ask_once() -> None:
            answers.append(await ask(s, RIGHT))

        assert await s.sidecar._checker.begin("somebody")
        async with trio.open_nursery() as nursery:
            for _ in range(MOST + 10):
                nursery.start_soon(ask_once)
            await eventually(lambda: len(s.sidecar.doors[0].inside) == MOST + 10, 5.0)
            # All but one ride on the one that stands in line, also those that have not asked yet.
            await eventually(lambda: repr(s.sidecar._checker) == "<Checker, 1 waiting>", 5.0)
            s.sidecar._checker.end()
        assert {answer[:13] for answer in answers} == {b"HTTP/1.1 200 "}


# --- who waits, and for whom nothing was asked ----------------------------------------------------


@asynccontextmanager
async def in_line(s: Scene) -> AsyncIterator[trio.SocketStream]:
    """A client whose password waits to be checked."""
    checker = s.sidecar._checker
    async with await s.connect() as stream:
        await stream.send_all(b"GET /x HTTP/1.1\r\nHost: shop\r\n" + WRONG + b"\r\n")
        await eventually(lambda: repr(checker) == "<Checker, 1 waiting>", 5.0)
        yield stream


async def test_who_has_left_stands_in_no_line(path: Path) -> None:
    async with door_for(path) as (s, _):
        assert await s.sidecar._checker.begin("somebody")
        async with in_line(s):
            pass
        await eventually(lambda: not s.sidecar.doors[0].inside, 2.0)
        assert repr(s.sidecar._checker) == "<Checker, 0 waiting>"
        told_as_gone(s)


def told_as_gone(s: Scene) -> None:
    """Each request that was counted is told of, however it ended."""
    assert s.sidecar.doors[0].requests == len(s.records) == 1
    (record,) = s.records
    assert (record.outcome, record.status, record.head_at) == (Outcome.CLIENT_GONE, 0, None)
    assert (record.listener, record.target, record.client[:10]) == ("door0", "", "127.0.0.1:")
    assert (record.method, record.path, record.http_version) == ("GET", "/x", "1.1")
    assert record.request_id
    assert record.began_at < record.ended_at
    assert record.detail == "its connection ended while its password waited to be checked"


async def test_who_waits_stays_while_it_is_there(path: Path) -> None:
    async with door_for(path) as (s, _):
        assert await s.sidecar._checker.begin("somebody")
        async with in_line(s) as stream:
            await trio.sleep(0.8)
            s.sidecar._checker.end()
            assert (await whole_answer(stream)).startswith(b"HTTP/1.1 401 ")


async def test_a_drain_waits_for_nobody_in_line(path: Path) -> None:
    async with door_for(path) as (s, _):
        assert await s.sidecar._checker.begin("somebody")
        async with in_line(s) as stream, trio.open_nursery() as nursery:
            nursery.start_soon(s.sidecar.drain)
            answer = await whole_answer(stream)
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"the door closes before it is this password's turn" in answer
            await stream.aclose()
        assert not s.sidecar.doors[0].inside


async def test_who_waits_makes_way_at_a_full_door(path: Path) -> None:
    async with door_for(path) as (s, _):
        assert await s.sidecar._checker.begin("somebody")
        async with in_line(s) as stream:
            door = s.sidecar.doors[0]
            assert not door.make_room(trio.current_time())
            assert door.make_room(trio.current_time() + IDLE_GRACE)
            assert await stream.receive_some() == b""
            await eventually(lambda: not door.inside, 2.0)
        told_as_gone(s)


async def test_too_many_at_once_are_told_to_come_again(path: Path) -> None:
    async with door_for(path) as (s, _):
        checker = s.sidecar._checker
        assert await checker.begin("somebody")
        async with trio.open_nursery() as nursery:
            for _ in range(MOST_OF_ONE):
                nursery.start_soon(checker.begin, "127.0.0.1")
            await trio.testing.wait_all_tasks_blocked()
            answer = await ask(s, RIGHT)
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"\r\nRetry-After: 1\r\n" in answer
            nursery.cancel_scope.cancel()
        checker.end()
        assert (await ask(s, RIGHT)).startswith(b"HTTP/1.1 200 ")


async def test_a_crowd_of_guessers_does_not_hold_up_who_is_known(tmp_path: Path) -> None:
    path = tmp_path / "users"
    write(path, new_user("ann", "open sesame", bytes(16)))
    async with door_for(path) as (s, _), await s.connect() as good:
        assert (await say(good, RIGHT)).startswith(b"HTTP/1.1 200 ")
        guesses = 0

        async def guess(number: int) -> None:
            nonlocal guesses
            for again in range(1000):
                await ask(s, basic(f"ann:{number}-{again}"))
                guesses += 1

        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(guess, number)
            await eventually(lambda: guesses > 20, 20.0)
            times = []
            for _ in range(50):
                before = time.perf_counter()
                assert (await say(good, RIGHT)).startswith(b"HTTP/1.1 200 ")
                times.append(time.perf_counter() - before)
            nursery.cancel_scope.cancel()
    # Fifty guesses wait, 50 ms each: whoever stood behind them would wait for 2.5 s.
    assert sorted(times)[45] < 1.0, times
