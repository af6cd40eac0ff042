"""The playbook itself: what goes otherwise is noticed, and shown."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from tests.proxy.playbook import Party, Step, play
from tests.sim.stream import connected_pair


def two() -> tuple[Party, Party]:
    one, other = connected_pair()
    return Party("one", one), Party("other", other)


async def test_what_goes_as_said(autojump_clock: MockClock) -> None:
    one, other = two()
    await play(
        one.says("a|b").at(1.0),
        other.hears(b"a\r\n"),
        other.hears("b"),
        other.says("HTTP/1.1 200 OK|Content-Length: 1||c").at(2.0),
        one.hears_answer(200),
        one.half_closes().at(3.0),
        other.hears_end(),
        other.resets().at(4.0),
        one.hears_reset(),
    )
    assert (one.got.content, one.got.at) == (b"c", 2.0)


async def goes_wrong(*steps: Step) -> str:
    with pytest.raises(AssertionError) as raised:
        await play(*steps)
    return str(raised.value)


async def test_other_bytes(autojump_clock: MockClock) -> None:
    one, other = two()
    told = await goes_wrong(one.says("a|b|c"), other.hears("a|x|c"))
    assert "one says b'a\\r\\nb\\r\\nc'" in told
    assert "- 'x\\r\\n'" in told
    assert "+ 'b\\r\\n'" in told


async def test_too_few_bytes(autojump_clock: MockClock) -> None:
    one, other = two()
    told = await goes_wrong(one.says("ab"), other.hears("abc"))
    assert "did not come; heard: bytes b'ab'" in told


async def test_an_end_in_place_of_bytes(autojump_clock: MockClock) -> None:
    one, other = two()
    assert "(end)" in await goes_wrong(one.half_closes(), other.hears("a"))
    one, other = two()
    assert "(reset)" in await goes_wrong(one.resets(), other.hears("a"))


async def test_bytes_in_place_of_an_end(autojump_clock: MockClock) -> None:
    one, other = two()
    assert "heard b'a' and" in await goes_wrong(one.says("a"), other.hears_end())


async def test_another_end(autojump_clock: MockClock) -> None:
    one, other = two()
    assert "and reset" in await goes_wrong(one.resets(), other.hears_end())
    one, other = two()
    assert "and end" in await goes_wrong(one.closes(), other.hears_reset())


async def test_another_instant(autojump_clock: MockClock) -> None:
    one, other = two()
    told = await goes_wrong(one.says("a").at(1.0), other.hears("a").at(2.0))
    assert "at 1.000000, not at 2.000000" in told


async def test_time_that_nobody_spoke_of(autojump_clock: MockClock) -> None:
    one, other = two()

    async def later() -> None:
        await trio.sleep(1.0)
        assert one.stream.send_now(b"a") == 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(later)
        assert "at 1.000000, not at 0.000000" in await goes_wrong(other.hears("a"))


async def test_what_is_not_heard(autojump_clock: MockClock) -> None:
    one, other = two()
    told = await goes_wrong(one.says("a"), other.hears_nothing().at(1.0))
    assert "before it, not heard: other: bytes b'a'" in told
    one, other = two()
    told = await goes_wrong(one.says("a"), other.hears_nothing())
    assert "in the end, not heard: other: bytes b'a'" in told
    one, other = two()
    told = await goes_wrong(one.half_closes(), other.hears_nothing())
    assert "in the end, not heard: other: an end" in told
    one, other = two()
    told = await goes_wrong(one.resets(), other.hears_nothing())
    assert "in the end, not heard: other: a reset" in told


async def test_another_answer(autojump_clock: MockClock) -> None:
    one, other = two()
    ok = "HTTP/1.1 200 OK|Content-Length: 1||"
    assert "another answer" in await goes_wrong(one.says(ok + "a"), other.hears_answer(502))
    one, other = two()
    told = await goes_wrong(one.says(ok), one.half_closes(), other.hears_answer(200))
    assert "peer closed connection" in told
