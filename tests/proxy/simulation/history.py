"""What must hold of each request, whatever befell: what the client got, what servers ran, what was told.

1. a POST without a key reaches one server at the most, and runs there once
2. every request has one answer, whole and right, or an error, or a break that the client can see
3. who was answered by a server was served by it: the request has run
4. an error that says that no server can have run the request is true
5. three attempts at the most, and each exchange is told once
6. nothing of one exchange in another's
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence

from haclient.proxy.record import ExchangeRecord
from tests.proxy.house import House
from tests.proxy.simulation.clients import Got
from tests.proxy.simulation.plan import Asked
from tests.proxy.simulation.servers import BUSY, answer_to
from tests.sim.origin import ReceivedRequest

__all__ = ["judge"]

MAX_ATTEMPTS = 3
OWN = frozenset({400, 408, 413, 502, 503, 504})
"""Statuses of the sidecar's own, in a world without bad requests: 400 is for a client that left."""


def judge(h: House, got: Sequence[Got], asked: dict[int, Asked]) -> list[str]:
    """What does not hold."""
    runs: dict[int, list[ReceivedRequest]] = {number: [] for number in asked}
    wrong = []
    for origin in h.origins:
        for request in origin.executed:
            number = int(request.value(b"x-request-id") or b"0")
            if number not in runs:
                continue  # of those who look whether all is well again
            runs[number].append(request)
            wrong += _garbled(request, asked[number])
    for one in got:
        wrong += [f"{one.asked.number}: {what}" for what in _wrong_with(one, runs)]
    for record in h.records:
        wrong += _wrong_with_record(record, asked)
    told = Counter(record.request_id for record in h.records)
    wrong += [
        f"{number} was told {told[f'{number}']} times" for number in asked if told[f"{number}"] > 1
    ]
    for number, ran in runs.items():
        if len(ran) > (MAX_ATTEMPTS if asked[number].is_repeatable else 1):
            wrong.append(f"{number}: {asked[number].method} ran {len(ran)} times")
    return wrong + [f"fault: {fault!r}" for fault in h.faults]


def _garbled(request: ReceivedRequest, asked: Asked) -> list[str]:
    """A request that ran must be the one that was asked, to its last byte."""
    wanted = answer_to(asked.method, asked.number, asked.down, b"")
    understood = answer_to(asked.method, asked.number, asked.down, request.content)
    is_right = request.method.decode() == asked.method
    if asked.method in ("PUT", "POST"):
        wanted = _right_answer(asked)
        is_right = is_right and understood == wanted
    else:
        is_right = is_right and request.content == b""
    return [] if is_right else [f"{asked.number}: another request ran: {request!r:.300}"]


def _right_answer(asked: Asked) -> bytes:
    from tests.proxy.simulation.plan import content_of

    return answer_to(asked.method, asked.number, asked.down, content_of(asked.number, asked.up))


def _wrong_with(got: Got, runs: dict[int, list[ReceivedRequest]]) -> list[str]:
    asked, ran = got.asked, runs[got.asked.number]
    if got.end == "stuck":
        return ["its answer never came"]
    if got.end.startswith("garbled"):
        return [got.end]
    if not got.status:
        return []
    assert got.fields is not None
    if not got.origin:
        return _wrong_with_own(got, len(ran))
    wrong = []
    if got.fields.get(b"x-request-id") != b"%d" % asked.number:
        wrong.append(f"got an answer to {got.fields.get(b'x-request-id')!r}")
    if not ran:
        wrong.append("answered by a server, and never run")
    right = b"busy" if got.status == BUSY else _right_answer(asked)
    if asked.method == "HEAD":
        right = b""
    if got.content != right[: len(got.content)]:
        wrong.append(f"wrong content, {len(got.content)} bytes")
    # What only the connection's end delimits looks whole wherever that comes in good order.
    is_delimited = b"x-ends" not in got.fields
    if got.is_whole and is_delimited and len(got.content) != len(right):
        wrong.append(f"{len(got.content)} bytes of {len(right)} look whole")
    if got.status not in (200, BUSY):
        wrong.append(f"status {got.status} from a server")
    return wrong


def _wrong_with_own(got: Got, ran: int) -> list[str]:
    assert got.fields is not None
    wrong = []
    if got.status not in OWN:
        wrong.append(f"status {got.status} of the sidecar's own: {got.content!r}")
    if not got.fields.get(b"proxy-status", b"").startswith(b"haclient;"):
        wrong.append("an error without Proxy-Status")
    if got.is_whole and got.asked.method != "HEAD":
        problem = json.loads(got.content)
        if problem.get("may_have_been_processed") is False and ran:
            wrong.append(f"said not to have been processed, and ran {ran} times")
    return wrong


def _wrong_with_record(record: ExchangeRecord, asked: dict[int, Asked]) -> list[str]:
    wrong = []
    name = f"{record.request_id or record.path}"
    if len(record.attempts) > MAX_ATTEMPTS:
        wrong.append(f"{name}: {len(record.attempts)} attempts")
    one = asked.get(int(record.request_id)) if record.request_id.isdigit() else None
    if one is not None and not one.is_repeatable:
        reached = [attempt for attempt in record.attempts if attempt.bytes_sent]
        if len(reached) > 1:
            wrong.append(f"{name}: POST was sent to {[str(each.endpoint) for each in reached]}")
    if record.ended_at < record.began_at:
        wrong.append(f"{name}: ended before it began")
    return wrong
