"""What an answer says: a table of answers, and nothing but what was asked for in what is read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haclient.core.dns_answer import (
    MAX_ADDRESSES,
    Addresses,
    Alias,
    Answer,
    Fault,
    Finding,
    NoData,
    NoName,
    Record,
    RecordType,
    Unusable,
    read_answer,
)

A, AAAA, CNAME = RecordType.A, RecordType.AAAA, RecordType.CNAME


def a(name: str, address: str, ttl: float = 60) -> Record:
    return Record(name, A, address, ttl)


def cname(name: str, target: str, ttl: float = 60) -> Record:
    return Record(name, CNAME, target, ttl)


def answer(*records: Record, rcode: int = 0, soa: float | None = None) -> Answer:
    return Answer(rcode, records, soa)


@pytest.mark.parametrize(
    ("given_answer", "expected"),
    [
        pytest.param(
            answer(a("x.", "10.0.0.1", 30), a("x.", "10.0.0.2", 20)),
            Addresses(("10.0.0.1", "10.0.0.2"), 20),
            id="every address in its order, with the least TTL",
        ),
        pytest.param(
            answer(a("x.", "10.0.0.1"), a("x.", "10.0.0.1")),
            Addresses(("10.0.0.1",), 60),
            id="an address that comes twice counts once",
        ),
        pytest.param(
            answer(a("evil.", "203.0.113.1"), a("x.", "10.0.0.1")),
            Addresses(("10.0.0.1",), 60),
            id="an address of another name does not count",
        ),
        pytest.param(
            answer(Record("x.", AAAA, "::1", 60)),
            NoData(None),
            id="an address of the other family does not count",
        ),
        pytest.param(
            answer(cname("x.", "y.", 50), cname("y.", "z.", 40), a("z.", "10.0.0.1", 90)),
            Addresses(("10.0.0.1",), 40),
            id="aliases are followed, and their TTL counts",
        ),
        pytest.param(
            answer(a("z.", "10.0.0.1"), cname("y.", "z."), cname("x.", "y.")),
            Addresses(("10.0.0.1",), 60),
            id="in whatever order they come",
        ),
        pytest.param(
            answer(cname("x.", "y.", 50), cname("y.", "z.", 40)),
            Alias("z.", 40, 2),
            id="aliases without an address are to be followed by asking",
        ),
        pytest.param(
            answer(cname("x.", "y.", 5), soa=30),
            NoData(5),
            id="with a SOA record they are the answer that there is no address",
        ),
        pytest.param(answer(soa=30), NoData(30), id="no record of the type"),
        pytest.param(answer(), NoData(None), id="no record, and not to be remembered"),
        pytest.param(answer(rcode=3, soa=30), NoName(30), id="no such name"),
        pytest.param(answer(rcode=3), NoName(None), id="no such name, and not to be remembered"),
        pytest.param(
            answer(cname("x.", "y."), rcode=3, soa=30), NoName(30), id="an alias to no such name"
        ),
        pytest.param(
            answer(rcode=2), Unusable(Fault.FAILED, "SERVFAIL"), id="the server failed"
        ),
        pytest.param(
            answer(rcode=5), Unusable(Fault.REFUSED, "REFUSED"), id="the server refused"
        ),
        pytest.param(
            answer(rcode=9), Unusable(Fault.FAILED, "response code 9"), id="an unknown code"
        ),
        pytest.param(
            Answer(0, is_lame=True),
            Unusable(Fault.FAILED, "a referral instead of an answer"),
            id="a server that knows nothing of the name",
        ),
        pytest.param(
            answer(cname("x.", "x.")),
            Unusable(Fault.FAILED, "more than 16 aliases, or a loop of them"),
            id="an alias of itself",
        ),
        pytest.param(
            answer(cname("x.", "0."), *(cname(f"{i}.", f"{i + 1}.") for i in range(15)),
                   a("15.", "10.0.0.1")),
            Addresses(("10.0.0.1",), 60),
            id="sixteen aliases",
        ),
        pytest.param(
            answer(cname("x.", "0."), *(cname(f"{i}.", f"{i + 1}.") for i in range(16)),
                   a("16.", "10.0.0.1")),
            Unusable(Fault.FAILED, "more than 16 aliases, or a loop of them"),
            id="seventeen aliases",
        ),
    ],
)  # fmt: skip
def test_read_answer(given_answer: Answer, expected: Finding) -> None:
    assert read_answer(given_answer, "x.", A, 16) == expected


def test_a_huge_answer_is_cut() -> None:
    records = [a("x.", f"10.0.{i // 256}.{i % 256}") for i in range(1000)]
    found = read_answer(answer(*records), "x.", A, 16)
    assert isinstance(found, Addresses)
    assert found.addresses == tuple(r.value for r in records[:MAX_ADDRESSES])


names = st.sampled_from(["x.", "y.", "z.", "evil."])
record = st.one_of(
    st.builds(Record, names, st.just(CNAME), names, st.integers(0, 99)),
    st.builds(Record, names, st.sampled_from([A, AAAA]), st.text("12", min_size=1, max_size=3),
              st.integers(0, 99)),
)  # fmt: skip


@given(
    st.builds(
        Answer,
        st.integers(0, 16),
        st.lists(record, max_size=12).map(tuple),
        st.none() | st.integers(0, 99),
        st.booleans(),
        st.booleans(),
    ),
    st.integers(0, 16),
)
def test_only_what_aliases_lead_to_is_ever_taken(given_answer: Answer, max_aliases: int) -> None:
    found = read_answer(given_answer, "x.", A, max_aliases)
    if isinstance(found, Addresses):
        reached = {"x."}
        for _ in given_answer.records:
            reached |= {
                r.value for r in given_answer.records if r.rdtype is CNAME and r.name in reached
            }
        allowed = {r.value for r in given_answer.records if r.rdtype is A and r.name in reached}
        assert set(found.addresses) <= allowed
        assert found.ttl >= min(r.ttl for r in given_answer.records)
    elif isinstance(found, Alias):
        assert 1 <= found.length <= max_aliases
