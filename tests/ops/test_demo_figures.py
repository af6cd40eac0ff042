"""The figures of a show that was played well, and of shows in which a promise broke."""

from __future__ import annotations

from collections import Counter

import pytest

from haclient.ops.demo_figures import Figures, Scene, reckon
from haclient.ops.demo_load import Problem, Sample
from haclient.types import AttemptRecord, Endpoint, Origin, Phase, Verdict

ORIGIN = Origin("http", "orders.demo", 80)
A, B = Endpoint("127.0.0.2", 80), Endpoint("127.0.0.3", 80)


class Served:
    """A server, as far as the figures look at it."""

    def __init__(
        self, endpoint: Endpoint, *ran: str, faults: tuple[tuple[float, float], ...] = ()
    ) -> None:
        self.endpoint = endpoint
        self.ran = Counter(ran)
        self._faults = faults

    def was_well(self, since: float, until: float) -> bool:
        return all(end <= since or begin >= until for begin, end in self._faults)


def attempt(number: int, verdict: Verdict, endpoint: Endpoint | None = A) -> AttemptRecord:
    return AttemptRecord(number, ORIGIN, endpoint, Phase.WAITING, verdict, 10.0, 11.0)


def got(name: str, at: float = 10.0, took: float = 0.002, *before: AttemptRecord) -> Sample:
    attempts = (*before, attempt(len(before) + 1, Verdict.ANSWERED, B))
    return Sample(name, at, at + took, attempts, served_by=B.address)


def lost(name: str, at: float = 10.0, *, may: bool | None = True) -> Sample:
    attempts = (attempt(1, Verdict.CLOSED),)
    problem = Problem("closed\n  attempt 1", 502, may)
    return Sample(name, at, at + 0.01, attempts, problem=problem)


KILL = Scene("A killed", 10.0, 20.0, 12.0, got("GET kill", 11.9, 0.104, attempt(1, Verdict.CLOSED)))
DOOMED = lost("POST kill", 11.9)
LOAD = [got("GET 1"), got("GET 2", 19.0, 0.5), got("POST 2", 19.5), got("GET 3", 25.0)]
SERVERS = (
    Served(A, "GET kill", "POST kill", "GET 1", faults=((12.0, 30.0),)),
    Served(B, "GET kill", "GET 2", "POST 2", "GET 3"),
)


def figures(
    load: list[Sample] = LOAD,
    doomed: Sample = DOOMED,
    scene: Scene = KILL,
    servers: tuple[Served, ...] = SERVERS,
) -> Figures:
    return reckon([scene], load, doomed, servers)


def broken(found: Figures) -> list[str]:
    return [promise.text for promise in found.promises if not promise.held]


def test_a_show_in_which_all_was_kept() -> None:
    found = figures()
    assert found.have_held
    (row,) = found.rows
    assert row.cells() == ("A killed", "4 ms", "0 of 4", "0", "0")
    assert row.slowest == pytest.approx(0.5)
    assert [promise.text for promise in found.promises] == [
        "every request of the load was answered: 4 GET and 1 POST, 1 of them by the sidecar's second try; "
        "half of them within 2 ms, the slowest in 500 ms",
        "no POST ran twice: 2 were sent, 2 ran once",
        "one more POST, outstanding on the killed server, got a clear error, 502: it may have run, "
        "so it was not sent again (it had begun to; no other server saw it)",
        "no server that was alive was given up, however slow",
    ]


def test_json_has_the_figures_and_whether_they_held() -> None:
    found = figures().as_json()
    assert found["held"] is True
    assert found["faults"][0]["time_to_answer"] == pytest.approx(0.004)
    assert len(found["promises"]) == 4


def test_a_post_that_had_not_begun_is_said_so() -> None:
    servers = (Served(A, faults=((12.0, 30.0),)), Served(B, "POST 2"))
    assert "(it had not;" in figures(servers=servers).promises[2].text


def test_a_lost_request_breaks_the_first_promise_and_is_counted_in_its_scene() -> None:
    found = figures([*LOAD, lost("GET 9", 13.0)])
    assert found.rows[0].lost == 1
    assert broken(found) == ["1 of 5 GET and 1 POST got no answer, GET 9 for one: closed"]


def test_a_scene_whose_own_request_was_lost_has_no_time_to_the_answer() -> None:
    scene = Scene("A killed", 10.0, 20.0, 12.0, lost("GET kill"))
    found = figures(scene=scene)
    assert found.rows[0].time_to_answer is None
    assert found.rows[0].cells()[1] == "none"
    assert not found.have_held


def test_a_post_that_ran_twice_breaks_the_second_promise() -> None:
    servers = (Served(A, "POST 2", faults=((12.0, 30.0),)), Served(B, "POST 2"))
    found = figures(servers=servers)
    assert found.rows[0].run_twice == 1
    assert broken(found) == ["run twice: ['POST 2']; answered and never run: none"]


def test_a_post_that_was_answered_and_never_ran_breaks_it_too() -> None:
    servers = (SERVERS[0], Served(B, "GET 2"))
    assert broken(figures(servers=servers)) == [
        "run twice: none; answered and never run: ['POST 2']"
    ]


def test_a_get_may_run_twice() -> None:
    servers = (SERVERS[0], Served(B, "GET 1", "POST 2"))
    assert figures(servers=servers).have_held


DOOMED_OTHERWISE = {
    "it was answered after all": (got("POST kill"), SERVERS, "got an answer and ran 1 times"),
    "the client was told that it did not run": (
        lost("POST kill", may=False),
        SERVERS,
        "got 502 (closed) and ran 1 times",
    ),
    "the client was not told whether it may have run": (
        lost("POST kill", may=None),
        SERVERS,
        "got 502 (closed) and ran 1 times",
    ),
}


@pytest.mark.parametrize(
    ("doomed", "servers", "text"), DOOMED_OTHERWISE.values(), ids=DOOMED_OTHERWISE
)
def test_the_doomed_post_must_have_a_clear_error(
    doomed: Sample, servers: tuple[Served, ...], text: str
) -> None:
    (told,) = broken(figures(doomed=doomed, servers=servers))
    assert told == f"one more POST, outstanding on the killed server, {text}"


def test_a_doomed_post_that_ran_twice_breaks_two_promises() -> None:
    told = broken(figures(servers=(*SERVERS, Served(B, "POST kill"))))
    assert told == [
        "run twice: ['POST kill']; answered and never run: none",
        "one more POST, outstanding on the killed server, got 502 (closed) and ran 2 times",
    ]


GIVEN_UP = [Verdict.DEAD, Verdict.SUPERSEDED, Verdict.SLOW, Verdict.CANCELLED]


@pytest.mark.parametrize("verdict", GIVEN_UP)
def test_an_attempt_given_up_on_a_server_that_was_well_is_an_abandoned_one(
    verdict: Verdict,
) -> None:
    load = [*LOAD, got("GET 9", 13.0, 0.1, attempt(1, verdict))]
    servers = (Served(A, "POST kill"), SERVERS[1])
    found = figures(load, servers=servers)
    assert found.rows[0].abandoned == 1
    (told,) = broken(found)
    assert told.startswith("1 attempts were given up on a server that was well: 127.0.0.2:80: ")


@pytest.mark.parametrize("verdict", GIVEN_UP)
def test_on_a_server_that_had_a_fault_it_is_none(verdict: Verdict) -> None:
    load = [*LOAD, got("GET 9", 13.0, 0.1, attempt(1, verdict))]
    servers = (Served(A, "POST kill", faults=((10.5, 12.0),)), SERVERS[1])
    assert figures(load, servers=servers).have_held


def test_an_attempt_that_found_no_connection_is_nobodys() -> None:
    load = [*LOAD, got("GET 9", 13.0, 0.1, attempt(1, Verdict.CANCELLED, None))]
    assert figures(load).have_held


def test_nothing_at_all_is_reckoned_too() -> None:
    scene = Scene("A killed", 10.0, 20.0, 12.0, got("GET kill"))
    found = reckon([scene], [], DOOMED, SERVERS)
    assert found.rows[0].slowest == 0.0
