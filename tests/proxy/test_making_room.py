"""Who makes way at a full door: whoever wants nothing, the longest silent first, and nobody else."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from haclient.proxy.door import HALF_HEAD_PATIENCE, IDLE_GRACE, SILENT_GRACE, SILENT_PATIENCE
from tests.proxy.house import ONE, House, house
from tests.proxy.playbook import Party, play
from tests.sim.origin import Reply

GET = "GET /x HTTP/1.1|Host: shop||"


def make_room(h: House) -> bool:
    return h.door.make_room(trio.current_time())


async def has_been_served(h: House) -> Party:
    client = h.client()
    await play(client.says(GET), client.hears_answer(200))
    return client


async def test_who_never_said_anything_makes_way(autojump_clock: MockClock) -> None:
    async with house(target=ONE) as h:
        client = h.client()
        await h.settle()
        assert not make_room(h)
        await trio.sleep(SILENT_GRACE + 0.001)
        assert make_room(h)
        await play(client.hears_end())
        assert not make_room(h)
        assert h.door.inside == set()


async def test_who_is_silent_has_longer_where_places_are_short(autojump_clock: MockClock) -> None:
    async with house(target=ONE) as h:
        client = h.client()
        await trio.sleep(SILENT_PATIENCE - 0.01)
        assert not h.door.make_room(trio.current_time(), is_urgent=False)
        await trio.sleep(0.02)
        assert h.door.make_room(trio.current_time(), is_urgent=False)
        await play(client.hears_end())


async def test_who_has_been_served_makes_way_a_second_later(autojump_clock: MockClock) -> None:
    async with house(target=ONE) as h:
        client = await has_been_served(h)
        await trio.sleep(IDLE_GRACE - 0.01)
        assert not make_room(h)
        await trio.sleep(0.02)
        assert make_room(h)
        await play(client.hears_end())


async def test_the_longest_silent_first(autojump_clock: MockClock) -> None:
    async with house(target=ONE) as h:
        first, second = await has_been_served(h), await has_been_served(h)
        await trio.sleep(0.5)
        await play(first.says(GET), first.hears_answer(200))
        await trio.sleep(2.0)
        newcomer = h.client()
        await trio.sleep(0.1)
        for one in (newcomer, second, first):
            assert make_room(h)
            await play(one.hears_end())
        assert not make_room(h)


async def test_whose_request_is_here_already_stays(autojump_clock: MockClock) -> None:
    """In the kernel's buffer, where its task has not seen it."""
    async with house(target=ONE) as h:
        client, other = h.client(), h.client()
        await trio.sleep(1.0)
        client.stream.send_now(GET.replace("|", "\r\n").encode())
        assert make_room(h)
        assert not make_room(h)
        await play(other.hears_end(), client.hears_answer(200))


async def test_whose_head_has_just_begun_stays(autojump_clock: MockClock) -> None:
    async with house(target=ONE) as h:
        client = h.client()
        await play(client.says("GET "))
        await trio.sleep(HALF_HEAD_PATIENCE - 0.1)
        assert not make_room(h)
        await play(client.says("/x HTTP/1.1|Host: shop||"), client.hears_answer(200))
        assert not make_room(h)


async def test_whose_head_does_not_end_makes_way(autojump_clock: MockClock) -> None:
    """Counted from its first byte, so that a byte now and then gains nothing."""
    async with house(target=ONE) as h:
        client = h.client()
        await trio.sleep(5.0)
        for piece in ("GET /x HTTP/1.1|Ho", "s", "t"):
            await play(client.says(piece))
            assert not make_room(h)
            await trio.sleep(HALF_HEAD_PATIENCE / 3 + 0.01)
        assert make_room(h)
        assert not make_room(h)
        await play(client.hears_answer(408), client.hears_end())
        assert h.door.inside == set()
        (record,) = h.records
        assert record.detail == "no whole head in time, and others wait for the place"


async def test_so_does_one_that_was_sent_ahead(autojump_clock: MockClock) -> None:
    async with house(target=ONE) as h:
        client = h.client()
        await play(client.says(GET + "GET /y"), client.hears_answer(200))
        await trio.sleep(HALF_HEAD_PATIENCE + 0.1)
        assert make_room(h)
        await play(client.hears_answer(408), client.hears_end())


@pytest.mark.parametrize("before", [(), (GET,)])
async def test_so_does_an_empty_line(autojump_clock: MockClock, before: tuple[str, ...]) -> None:
    """Of which nothing is kept."""
    async with house(target=ONE) as h:
        client = h.client()
        for request in before:
            await play(client.says(request), client.hears_answer(200))
        await play(client.says("|"))
        await trio.sleep(HALF_HEAD_PATIENCE + 0.1)
        assert make_room(h)
        await play(client.hears_end())


async def test_who_has_its_last_answer_makes_way(autojump_clock: MockClock) -> None:
    """What it still sends is read for two seconds, where nobody needs its place."""
    async with house(target=ONE) as h:
        client = h.client()
        await play(client.says("nonsense||"), client.hears_answer(400), client.hears_end())
        assert not make_room(h)
        await trio.sleep(IDLE_GRACE + 0.1)
        assert len(h.door.inside) == 1
        assert make_room(h)
        await h.settle()
        assert h.door.inside == set()


async def test_the_oldest_half_head_first(autojump_clock: MockClock) -> None:
    """Behind those who said nothing, before those who were served."""
    async with house(target=ONE) as h:
        served = await has_been_served(h)
        first, second = h.client(), h.client()
        await play(second.says("G"), first.says("G"))
        await trio.sleep(0.5)
        await play(second.says("E"))
        await trio.sleep(HALF_HEAD_PATIENCE)
        silent = h.client()
        await trio.sleep(SILENT_GRACE + 0.01)
        for one, words in ((silent, ()), (second, (408,)), (first, (408,)), (served, ())):
            assert make_room(h)
            await play(*map(one.hears_answer, words), one.hears_end())


async def test_a_head_that_goes_on_for_ever_does_not_stay_by_that(
    autojump_clock: MockClock,
) -> None:
    """Bytes come in the moment in which it was chosen: a head that is whole by them is served, no other."""
    async with house(target=ONE) as h:
        endless, whole = h.client(), h.client()
        await play(endless.says("GET /x HTTP/1.1|"), whole.says("GET /x HTTP/1.1|"))
        await trio.sleep(HALF_HEAD_PATIENCE + 0.1)
        assert make_room(h)
        assert make_room(h)
        endless.stream.send_now(b"A")
        whole.stream.send_now(b"Host: shop\r\n\r\n")
        await play(endless.hears_answer(408), endless.hears_end(), whole.hears_answer(200))
        await play(whole.says(GET), whole.hears_answer(200))


async def test_whose_request_is_outstanding_stays(autojump_clock: MockClock) -> None:
    async with house(target=ONE) as h:
        h.a.reply = Reply(think=5.0)
        client = h.client()
        await play(client.says(GET))
        await trio.sleep(4.0)
        assert not make_room(h)
        await play(client.hears_answer(200).at(5.0))


async def test_a_request_that_comes_with_the_word_to_leave_is_served(
    autojump_clock: MockClock,
) -> None:
    """It was still quiet when it was chosen, and its task had not run since."""
    async with house(target=ONE) as h:
        client = h.client()
        await trio.sleep(1.0)
        assert make_room(h)
        client.stream.send_now(GET.replace("|", "\r\n").encode())
        await play(client.hears_answer(200))
        await trio.sleep(1.5)
        assert make_room(h)
        await play(client.hears_end())
