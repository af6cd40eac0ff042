"""Bytes to answers: what belongs to the query, what does not, and any bytes at all."""

from __future__ import annotations

import ipaddress
import itertools

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdata
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from haclient.core.dns_answer import Answer, Fault, NoAnswer, Record, RecordType
from haclient.core.question import Ask
from haclient.core.saved_names import SavedName, read_saved_names, saved_names_text
from haclient.core.services import parse_service
from haclient.net.dns_wire import EDNS_PAYLOAD, MAX_RECORDS, Query
from haclient.types import Endpoint

A, AAAA, CNAME = RecordType.A, RecordType.AAAA, RecordType.CNAME
SERVER = Endpoint("10.0.0.53", 53)


def query(*, edns: bool = True, rdtype: RecordType = A) -> Query:
    return Query(Ask(1, "x.example.", rdtype, SERVER, uses_edns=edns))


def response(to: Query, *records: str, rcode: str = "NOERROR") -> dns.message.Message:
    message = dns.message.make_response(dns.message.from_wire(to.wire), recursion_available=True)
    message.set_rcode(dns.rcode.from_text(rcode))
    for record in records:
        name, ttl, rdtype, value = record.split(maxsplit=3)
        message.answer.append(dns.rrset.from_text(name, int(ttl), "IN", rdtype, value))
    return message


class TestQuery:
    def test_it_asks_for_recursion_with_edns_and_a_safe_payload(self) -> None:
        message = dns.message.from_wire(query(rdtype=AAAA).wire)
        assert message.question[0].to_text() == "x.example. IN AAAA"
        assert message.flags == dns.flags.RD
        assert (message.edns, message.payload) == (0, EDNS_PAYLOAD)

    def test_without_edns(self) -> None:
        assert dns.message.from_wire(query(edns=False).wire).edns == -1

    def test_ids_are_not_predictable_from_each_other(self) -> None:
        ids = [int.from_bytes(query().wire[:2], "big") for _ in range(64)]
        assert len({b - a for a, b in itertools.pairwise(ids)}) > 50


labels = st.lists(st.binary(min_size=1, max_size=62), max_size=4)
binary_names = labels.map(lambda some: dns.name.Name([*some, b""]))
ports = st.integers(0, 65535)
odd_addresses = st.one_of(
    st.ip_addresses(v=6),
    st.ip_addresses(v=4).map(lambda address: ipaddress.IPv6Address(f"::ffff:{address}")),
    st.ip_addresses(v=4).map(lambda address: ipaddress.IPv6Address(f"::{address}")),
)


class TestWhatIsKept:
    """What a name server says is written into the state file, and read there."""

    @given(st.lists(odd_addresses, min_size=1, max_size=3))
    def test_addresses(self, addresses: list[ipaddress.IPv6Address]) -> None:
        q = query(rdtype=AAAA)
        message = response(q, *(f"x.example. 9 AAAA {address}" for address in addresses))
        assert set(kept("x.example", q.read(message.to_wire()))) == set(map(str, addresses))

    @given(ports, ports, ports, binary_names)
    def test_services(self, priority: int, weight: int, port: int, target: dns.name.Name) -> None:
        q = query(rdtype=RecordType.SRV)
        record = dns.rdata.from_text("IN", "SRV", f"{priority} {weight} {port} {target.to_text()}")
        message = response(q)
        message.answer.append(dns.rrset.from_rdata("x.example.", 9, record))
        (text,) = kept("srv+x.example", q.read(message.to_wire()))
        found = parse_service(text)
        assert (found.priority, found.weight, found.port) == (priority, weight, port)


def kept(host: str, answer: object) -> tuple[str, ...]:
    assert isinstance(answer, Answer)
    saved = SavedName(tuple(record.value for record in answer.records), 1e9)
    assert read_saved_names(saved_names_text({host: saved}), 1e9, 9) == ({host: saved}, ())
    return saved.addresses


class TestAnswers:
    def test_records_in_lower_case_with_their_ttl_and_no_others(self) -> None:
        q = query()
        message = response(
            q, "X.Example. 30 CNAME Y.Example.", "y.example. 60 A 192.0.2.1",
            "y.example. 60 AAAA 2001:DB8::1", "y.example. 60 TXT words", "y.example. 60 MX 1 m."
        )  # fmt: skip
        message.answer.append(dns.rrset.from_text("y.example.", 60, "CH", "TXT", "chaos"))
        assert q.read(message.to_wire()) == Answer(
            0,
            (
                Record("x.example.", CNAME, "y.example.", 30),
                Record("y.example.", A, "192.0.2.1", 60),
                Record("y.example.", AAAA, "2001:db8::1", 60),
            ),
        )

    def test_services(self) -> None:
        q = query(rdtype=RecordType.SRV)
        message = response(
            q, "x.example. 30 SRV 10 60 8080 A.Example.", "x.example. 30 SRV 20 0 0 ."
        )  # fmt: skip
        found = q.read(message.to_wire())
        assert isinstance(found, Answer)
        assert set(found.records) == {
            Record("x.example.", RecordType.SRV, "10 60 8080 a.example.", 30),
            Record("x.example.", RecordType.SRV, "20 0 0 .", 30),
        }

    def test_addresses_keep_their_order(self) -> None:
        q = query()
        records = [f"x.example. 60 A 192.0.2.{i}" for i in (3, 1, 2)]
        found = q.read(response(q, *records).to_wire())
        assert isinstance(found, Answer)
        assert [record.value for record in found.records] == ["192.0.2.3", "192.0.2.1", "192.0.2.2"]

    @pytest.mark.parametrize(
        ("rcode", "number"), [("NXDOMAIN", 3), ("SERVFAIL", 2), ("REFUSED", 5), ("BADVERS", 16)]
    )
    def test_response_codes_the_extended_one_too(self, rcode: str, number: int) -> None:
        q = query()
        assert q.read(response(q, rcode=rcode).to_wire()) == Answer(number)

    @pytest.mark.parametrize(("ttl", "minimum", "expected"), [(60, 5, 5), (4, 900, 4)])
    def test_the_negative_ttl_is_the_lesser_of_two(
        self, ttl: int, minimum: int, expected: int
    ) -> None:
        q = query()
        message = response(q, rcode="NXDOMAIN")
        ns = dns.rrset.from_text("example.", 60, "IN", "NS", "ns.example.")
        soa = dns.rrset.from_text("example.", ttl, "IN", "SOA", f"ns. admin. 1 2 3 4 {minimum}")
        message.authority += [ns, soa]
        assert q.read(message.to_wire()) == Answer(3, negative_ttl=expected)

    def test_a_referral_is_lame(self) -> None:
        q = query()
        message = response(q)
        message.flags &= ~dns.flags.RA
        message.authority.append(dns.rrset.from_text("example.", 60, "IN", "NS", "ns.example."))
        assert q.read(message.to_wire()) == Answer(0, is_lame=True)

    def test_a_truncated_answer_may_be_cut_anywhere(self) -> None:
        q = query()
        message = response(q, "x.example. 30 A 192.0.2.1")
        message.flags |= dns.flags.TC
        wire = message.to_wire()
        for cut in (len(wire), len(wire) - 3):
            assert q.read(wire[:cut]) == Answer(0, is_truncated=True)

    def test_an_error_without_a_question_is_an_answer(self) -> None:
        q = query()
        message = response(q, rcode="SERVFAIL")
        message.question.clear()
        assert q.read(message.to_wire()) == Answer(2)


class TestWhatIsNoAnswer:
    def test_another_id(self) -> None:
        q = query()
        wire = bytearray(response(q, "x.example. 30 A 192.0.2.1").to_wire())
        wire[0] ^= 1
        assert q.read(bytes(wire)) is None

    def test_another_question(self) -> None:
        q = query()
        other = dns.message.make_query("y.example.", "A", id=int.from_bytes(q.wire[:2], "big"))
        assert q.read(dns.message.make_response(other).to_wire()) is None

    def test_the_query_itself(self) -> None:
        q = query()
        assert q.read(q.wire) is None

    def test_too_short_for_a_header(self) -> None:
        q = query()
        assert q.read(q.wire[:11]) is None

    def test_more_records_than_anybody_needs(self) -> None:
        q = query()
        wire = bytearray(response(q).to_wire())
        wire[6:8] = (MAX_RECORDS + 1).to_bytes(2, "big")
        assert q.read(bytes(wire)) == NoAnswer(Fault.MALFORMED, "an answer of 514 records")

    def test_a_broken_message_with_the_right_id(self) -> None:
        q = query()
        wire = response(q, "x.example. 30 A 192.0.2.1").to_wire()
        found = q.read(wire[:40])
        assert isinstance(found, NoAnswer)
        assert found.fault is Fault.MALFORMED
        assert found.detail.startswith("malformed answer (")

    @given(st.data())
    def test_any_change_to_an_answer_is_read_or_passed_over(self, data: st.DataObject) -> None:
        q = query()
        wire = bytearray(
            response(q, "x.example. 30 CNAME y.example.", "y.example. 60 A 192.0.2.1").to_wire()
        )
        for _ in range(data.draw(st.integers(1, 6))):
            wire[data.draw(st.integers(2, len(wire) - 1))] = data.draw(st.integers(0, 255))
        found = q.read(bytes(wire[: data.draw(st.integers(0, len(wire)))]))
        assert found is None or isinstance(found, Answer | NoAnswer)

    @given(st.binary(max_size=200))
    def test_any_bytes_behind_a_right_header_are_read_or_passed_over(self, tail: bytes) -> None:
        q = query()
        found = q.read(q.wire[:2] + b"\x80" + tail)
        assert found is None or isinstance(found, Answer | NoAnswer)
