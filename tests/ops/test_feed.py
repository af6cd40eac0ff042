"""Events to those who listen: bounded, in order, resumable."""

from __future__ import annotations

import trio

from haclient.ops.feed import MAX_QUEUED, MAX_READERS, Feed, Reader

AT = 1_795_780_800_000


def made() -> Feed:
    return Feed(lambda: AT * 1_000_000)


def joined(feed: Feed, last_id: int | None = None) -> Reader:
    reader = feed.join(last_id)
    assert reader is not None
    return reader


def test_as_the_standard_has_it() -> None:
    feed = made()
    reader = joined(feed)
    feed.publish("drain", {"lines": ["a\nb"]})
    feed.publish("names", {"to": "é"})

    assert reader.take().decode() == (
        f'id: {AT}\nevent: drain\ndata: {{"lines":["a\\nb"]}}\n\n'
        f'id: {AT + 1}\nevent: names\ndata: {{"to":"é"}}\n\n'
    )
    assert reader.take() == b""


async def test_who_waits_is_woken(autojump_clock: trio.testing.MockClock) -> None:
    feed = made()
    reader = joined(feed)

    async def later() -> None:
        await trio.sleep(3)
        feed.publish("drain", {})

    async with trio.open_nursery() as nursery:
        nursery.start_soon(later)
        await reader.wait()
        assert trio.current_time() == 3
        assert reader.take()
        with trio.move_on_after(1) as waiting:
            await reader.wait()
        assert waiting.cancelled_caught


def test_everybody_gets_everything_from_the_moment_of_joining() -> None:
    feed = made()
    feed.publish("drain", 0)
    one = joined(feed)
    feed.publish("drain", 1)
    two = joined(feed)
    feed.publish("drain", 2)

    assert [b"data: %d" % n in one.take() for n in (1,)] == [True]
    assert b"data: 1" not in (second := two.take())
    assert b"data: 2" in second


def test_who_is_slow_keeps_the_last_ones_and_is_told_how_many_are_missing() -> None:
    feed = made()
    reader = joined(feed)
    for number in range(MAX_QUEUED + 7):
        feed.publish("failover", number)
    events = reader.take().decode().split("\n\n")[:-1]

    assert events[0] == 'event: missed\ndata: {"count":7}'
    assert [int(each.rpartition(" ")[2]) for each in events[1:]] == list(range(7, MAX_QUEUED + 7))

    feed.publish("failover", "next")
    assert b"missed" not in reader.take()


def test_who_comes_back_gets_what_came_meanwhile() -> None:
    feed = made()
    for number in range(4):
        feed.publish("failover", number)

    assert [f"data: {n}" in joined(feed, AT + 1).take().decode() for n in range(4)] == [
        False,
        False,
        True,
        True,
    ]
    assert joined(feed, AT + 3).take() == b""
    assert joined(feed).take() == b""


def test_ids_go_up_across_a_restart() -> None:
    before = made()
    for _ in range(50):
        before.publish("drain", 0)
    after = Feed(lambda: (AT + 1000) * 1_000_000)
    after.publish("drain", "new")

    assert b"new" in joined(after, AT + 49).take()


def test_no_more_than_so_many() -> None:
    feed = made()
    readers = [joined(feed) for _ in range(MAX_READERS)]
    assert feed.join() is None

    feed.leave(readers[0])
    feed.leave(readers[0])
    assert feed.join() is not None
    assert feed.join() is None
