"""The model of TCP: what Linux was measured to do, and bytes that arrive once and in order."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.sim.segment import Path
from tests.sim.tcp import BUFFER_BYTES, MAX_RETRANSMITS, Connection

FOREVER = 10_000.0


def connection(delay: float = 0.0) -> Connection:
    return Connection(0.0, (Path(delay),))


def retransmits_at(conn: Connection, *instants: float) -> list[int]:
    shown = []
    for now in instants:
        conn.advance(now)
        shown.append(conn.client.snapshot(now).retransmits)
    return shown


class TestInFlight:
    def test_data_is_unacknowledged_for_a_round_trip(self) -> None:
        conn = connection(0.1)
        conn.client.write(b"x", 0.0)
        shown = []
        for now in (0.0, 0.199, 0.2):
            conn.advance(now)
            shown.append(conn.client.snapshot(now).unacked)
        assert shown == [1, 1, 0]
        assert bytes(conn.server.incoming) == b"x"

    def test_an_acknowledgement_is_a_sign_of_life(self) -> None:
        conn = connection(0.1)
        before = conn.client.snapshot(0.0).segs_in
        conn.client.write(b"x", 0.0)
        conn.advance(1.0)
        info = conn.client.snapshot(1.0)
        assert info.segs_in == before + 1
        assert info.last_received == pytest.approx(0.8)

    def test_low_round_trip_retransmits_as_linux_does(self) -> None:
        conn = connection()
        conn.own_path.cut_until = inf
        conn.client.write(b"x", 0.0)
        instants = (0.40, 0.42, 0.84, 0.86, 1.66, 1.68, 2.66, 2.68, 3.68)
        assert retransmits_at(conn, *instants) == [0, 1, 1, 2, 2, 3, 3, 4, 5]
        assert conn.client.snapshot(3.68).segs_in == 1

    def test_long_round_trip_stretches_the_schedule(self) -> None:
        conn = connection(0.1)  # measured: 1.28 and 2.50, without TCP_RTO_MAX_MS
        conn.client.rto_max = 120.0
        conn.own_path.cut_until = inf
        conn.client.write(b"x", 0.0)
        assert retransmits_at(conn, 1.2, 1.3, 2.5, 2.6) == [0, 1, 1, 2]

    def test_the_kernel_gives_up_in_the_end(self) -> None:
        conn = connection()
        conn.own_path.cut_until = inf
        conn.client.write(b"x", 0.0)
        conn.advance(FOREVER)
        assert conn.client.take_error() == "Connection timed out"
        assert conn.client.segs_out == 1 + 1 + MAX_RETRANSMITS  # data, tail loss probe, and those

    def test_a_short_cut_costs_the_time_to_the_next_retransmission(self) -> None:
        conn = connection()
        conn.own_path.cut_until = 0.5
        conn.client.write(b"x", 0.0)
        conn.advance(0.84)
        assert not conn.server.incoming
        conn.advance(0.86)
        assert bytes(conn.server.incoming) == b"x"
        info = conn.client.snapshot(0.86)
        assert (info.unacked, info.retransmits) == (0, 0)

    def test_a_response_that_was_cut_is_sent_again_too(self) -> None:
        conn = connection()
        conn.own_path.cut_until = 0.5
        conn.server.write(b"y", 0.0)
        conn.advance(0.86)
        assert bytes(conn.client.incoming) == b"y"

    def test_what_left_before_the_cut_arrives(self) -> None:
        conn = connection(0.1)
        conn.server.write(b"y", 0.0)
        conn.client.write(b"x", 0.0)
        conn.own_path.cut_until = inf
        conn.advance(0.1)
        assert bytes(conn.client.incoming) == b"y"
        assert not conn.server.incoming

    def test_the_round_trip_is_estimated_from_what_is_measured(self) -> None:
        path = Path(0.1)
        conn = Connection(0.0, (path,))
        path.delay = 0.2
        for now in range(60):
            conn.advance(now)
            conn.client.write(b"x", now)
        info = conn.client.snapshot(59.0)
        assert info.rtt == pytest.approx(0.4, rel=0.01)
        assert info.rttvar < 0.02

    def test_more_data_does_not_put_the_time_out_off(self) -> None:
        conn = connection()
        conn.own_path.cut_until = inf
        conn.client.write(b"x", 0.0)
        conn.advance(0.3)
        conn.client.write(b"y", 0.3)
        assert retransmits_at(conn, 0.40, 0.42) == [0, 1]

    def test_what_was_sent_twice_does_not_count_as_a_round_trip(self) -> None:
        conn = connection(0.1)
        conn.own_path.cut_until = 0.5
        conn.client.write(b"x", 0.0)
        conn.advance(5.0)
        info = conn.client.snapshot(5.0)
        assert (info.unacked, info.rtt) == (0, 0.2)

    def test_nothing_overtakes_on_a_path_that_gets_shorter(self) -> None:
        path = Path(0.2)
        conn = Connection(0.0, (path,))
        conn.client.write(b"first", 0.0)
        path.delay = 0.0
        conn.client.write(b"second", 0.0)
        conn.advance(0.1)
        assert not conn.server.incoming
        conn.advance(0.2)
        assert bytes(conn.server.incoming) == b"firstsecond"

    def test_what_arrives_after_the_cut_is_over_has_arrived(self) -> None:
        conn = connection(0.1)
        conn.own_path.cut_until = 0.05
        conn.client.write(b"x", 0.0)
        conn.advance(0.1)
        assert bytes(conn.server.incoming) == b"x"


class TestWindow:
    def test_an_unread_peer_shuts_its_window(self) -> None:
        conn = connection()
        taken = [conn.client.write(bytes(1_000_000), 0.0)]
        conn.advance(0.0)
        taken.append(conn.client.write(bytes(1_000_000), 0.0))
        taken.append(conn.client.write(b"x", 0.0))
        assert taken == [BUFFER_BYTES, BUFFER_BYTES, 0]
        info = conn.client.snapshot(0.0)
        assert (info.unacked, info.notsent_bytes) == (0, BUFFER_BYTES)

    def test_reading_opens_it(self) -> None:
        conn = connection()
        for _ in range(2):
            conn.client.write(bytes(BUFFER_BYTES), 0.0)
            conn.advance(0.0)
        conn.server.read(BUFFER_BYTES, 1.0)
        conn.advance(1.0)
        assert conn.client.snapshot(1.0).notsent_bytes == 0
        assert len(conn.server.incoming) == BUFFER_BYTES

    def test_the_window_is_probed_and_one_answer_is_withheld(self) -> None:
        """As measured on a live peer: the second probe, 0.42 s after the first, finds no answer."""
        conn = connection()
        for _ in range(2):
            conn.client.write(bytes(BUFFER_BYTES), 0.0)
            conn.advance(0.0)
        shown = {}
        for now in (0.2, 0.3, 0.6, 0.7, 1.4, 1.5, 2.4, 2.5, 3.5):
            conn.advance(now)
            shown[now] = conn.client.snapshot(now).probes
        assert shown == {
            0.2: 0,
            0.3: 0,
            0.6: 0,
            0.7: 1,
            1.4: 1,
            1.5: 0,
            2.4: 0,
            2.5: 0,
            3.5: 0,
        }

    def test_window_probes_of_a_dead_peer_stay_unanswered(self) -> None:
        conn = connection()
        for _ in range(2):
            conn.client.write(bytes(BUFFER_BYTES), 0.0)
            conn.advance(0.0)
        conn.own_path.cut_until = inf
        conn.advance(3.0)
        assert conn.client.snapshot(3.0).probes == 4  # 0.21, 0.63, 1.47, 2.47
        conn.advance(FOREVER)
        assert conn.client.take_error() == "Connection timed out"

    def test_a_lost_window_update_is_made_good_by_a_probe(self) -> None:
        conn = connection()
        for _ in range(2):
            conn.client.write(bytes(BUFFER_BYTES), 0.0)
            conn.advance(0.0)
        conn.own_path.cut_until = 0.15
        conn.server.read(BUFFER_BYTES, 0.1)
        conn.advance(0.2)
        assert conn.client.snapshot(0.2).notsent_bytes == BUFFER_BYTES
        conn.advance(0.3)
        assert conn.client.snapshot(0.3).notsent_bytes == 0


class TestKeepalive:
    def test_no_probe_leaves_before_a_second_of_silence(self) -> None:
        conn = connection(0.01)
        conn.client.probe(0.3)
        conn.advance(0.99)
        assert conn.client.segs_out == 0
        conn.advance(1.0)
        assert conn.client.segs_out == 1
        conn.advance(1.02)
        assert conn.client.snapshot(1.02).segs_in == 2
        assert conn.client.snapshot(1.02).probes == 0

    def test_each_call_probes_at_once_after_a_second_of_silence(self) -> None:
        conn = connection()
        conn.own_path.cut_until = inf
        for now in (1.5, 2.0, 2.5):
            conn.advance(now)
            conn.client.probe(now)
            conn.advance(now)
        info = conn.client.snapshot(2.5)
        assert (info.probes, info.segs_in, info.last_received) == (3, 1, 2.5)

    def test_a_peer_answers_once_in_500_ms(self) -> None:
        conn = connection(0.4)  # so that silence outlasts the answers
        for now in (1.0, 1.2, 1.4, 1.6):
            conn.advance(now)
            conn.client.probe(now)
        conn.advance(2.5)
        assert conn.client.segs_out == 4
        assert conn.client.snapshot(2.5).segs_in == 3  # the handshake's, 1.0's and 1.6's

    def test_it_is_inert_while_data_is_in_flight(self) -> None:
        conn = connection()
        conn.own_path.cut_until = inf
        conn.advance(2.0)
        conn.client.write(b"x", 2.0)
        sent = conn.client.segs_out
        conn.client.probe(2.0)
        conn.advance(2.1)
        assert conn.client.segs_out == sent
        assert conn.client.snapshot(2.1).probes == 0

    def test_the_kernel_goes_on_by_itself_until_it_is_stopped(self) -> None:
        conn = connection()
        conn.client.probe(1.0)
        conn.advance(4.5)
        assert conn.client.segs_out == 4  # 1, 2, 3 and 4 s
        conn.client.stop_probing()
        conn.advance(FOREVER)
        assert conn.client.segs_out == 4

    def test_ten_unanswered_end_the_connection(self) -> None:
        conn = connection()
        conn.own_path.cut_until = inf
        conn.client.probe(1.0)
        conn.advance(10.9)
        assert not conn.client.is_gone
        conn.advance(11.0)
        assert conn.client.take_error() == "Connection timed out"

    def test_an_idle_connection_costs_no_packet(self) -> None:
        conn = connection()
        assert conn.next_event_at() == inf
        conn.advance(FOREVER)
        assert conn.client.segs_out == conn.server.segs_out == 0


class TestEnd:
    def test_fin_comes_behind_the_data(self) -> None:
        conn = connection()
        conn.client.write(b"x", 0.0)
        conn.client.write_eof(0.0)
        conn.advance(0.0)
        assert conn.server.read(10, 0.0) == b"x"
        assert conn.server.read(10, 0.0) == b""
        assert conn.client.snapshot(0.0).unacked == 0

    def test_a_lost_fin_is_sent_again(self) -> None:
        conn = connection()
        conn.own_path.cut_until = 0.3
        conn.client.write(b"x", 0.0)
        conn.client.write_eof(0.0)
        conn.advance(0.42)
        assert conn.server.read(10, 0.0) == b"x"
        assert conn.server.read(10, 0.0) == b""

    def test_data_for_a_closed_end_meets_a_reset(self) -> None:
        conn = connection(0.1)
        conn.server.close(0.0)
        conn.client.write(b"x", 0.0)
        conn.advance(0.2)
        assert conn.client.read(10, 0.2) == b""  # its FIN came first
        assert conn.client.is_gone

    def test_close_with_unread_data_resets(self) -> None:
        conn = connection()
        conn.client.write(b"unread", 0.0)
        conn.advance(0.0)
        conn.server.write(b"response", 0.0)
        conn.advance(0.0)
        conn.server.close(0.0)
        conn.advance(0.0)
        assert conn.client.read(100, 0.0) == b"response"
        assert conn.client.read(100, 0.0) is None
        assert conn.client.take_error() == "Connection reset by peer"
        assert conn.client.read(100, 0.0) == b""  # the kernel tells it once

    def test_a_host_that_lost_its_state_answers_a_probe_with_reset(self) -> None:
        conn = connection(0.1)
        conn.server.forget("")
        conn.advance(5.0)
        assert not conn.client.is_gone
        conn.client.probe(5.0)
        conn.advance(5.1)
        assert not conn.client.is_gone
        conn.advance(5.2)
        assert conn.client.take_error() == "Connection reset by peer"

    def test_a_reset_that_is_cut_is_never_heard_of(self) -> None:
        conn = connection()
        conn.own_path.cut_until = 1.0
        conn.server.abort(0.0)
        conn.advance(50.0)
        assert not conn.client.is_gone
        conn.client.write(b"x", 50.0)
        conn.advance(50.0)
        assert conn.client.is_gone


class TestTripwire:
    @pytest.mark.parametrize("count", [0, 3, 5, 6, 9])
    def test_it_is_told_at_the_exact_byte(self, count: int) -> None:
        conn = connection()
        seen: list[bytes] = []
        limits = [count]

        def fire(_at: float) -> None:
            limits.clear()
            seen.append(bytes(conn.server.incoming))
            conn.own_path.cut_until = inf

        conn.server.tripwire.next_at = lambda: limits[0] if limits else None
        conn.server.tripwire.fire = fire
        for piece in (b"01234", b"56789"):
            conn.client.write(piece, 0.0)
            conn.advance(0.0)
        assert seen == [b"0123456789"[:count]]
        assert bytes(conn.server.incoming) == b"0123456789"[:count]
        assert conn.client.una == count  # what was taken is acknowledged, and no more

    def test_without_a_cut_the_rest_follows(self) -> None:
        conn = connection()
        limits = [2, 4]
        conn.server.tripwire.next_at = lambda: limits[0] if limits else None

        def fire(_at: float) -> None:
            limits.pop(0)

        conn.server.tripwire.fire = fire
        conn.client.write(b"012345", 0.0)
        conn.client.write_eof(0.0)
        conn.advance(0.0)
        assert not limits
        assert conn.server.read(10, 0.0) == b"012345"
        assert conn.server.read(10, 0.0) == b""


STEP = st.one_of(
    st.tuples(st.just("write"), st.booleans(), st.integers(1, 90_000)),
    st.tuples(st.just("write"), st.booleans(), st.integers(1, 3)),
    st.tuples(st.just("read"), st.booleans(), st.integers(1, 90_000)),
    st.tuples(st.just("wait"), st.just(True), st.integers(0, 2000)),
    st.tuples(st.just("cut"), st.just(True), st.integers(0, 3000)),
    st.tuples(st.just("delay"), st.just(True), st.integers(0, 300)),
)


@given(st.lists(STEP, max_size=30))
def test_every_byte_arrives_once_and_in_order_whatever_is_cut(
    steps: list[tuple[str, bool, int]],
) -> None:
    path = Path()
    conn = Connection(0.0, (path,))
    now = 0.0
    written = {True: bytearray(), False: bytearray()}
    read = {True: bytearray(), False: bytearray()}
    ends = {True: conn.client, False: conn.server}
    for verb, is_client, amount in steps:
        conn.advance(now)
        end = ends[is_client]
        if verb == "write":
            start = len(written[is_client])
            data = bytes((start + i) % 251 for i in range(amount))
            written[is_client] += data[: end.write(data, now)]
        elif verb == "read":
            read[is_client] += end.read(amount, now) or b""
        elif verb == "wait":
            now += amount / 1000
        elif verb == "cut":
            path.cut_until = now + amount / 1000
        else:
            path.delay = amount / 1000
    for _ in range(20):
        now += 30.0
        conn.advance(now)
        for is_client, end in ends.items():
            read[is_client] += end.read(1_000_000, now) or b""
    conn.advance(now + 30.0)
    assert read[False] == written[True]
    assert read[True] == written[False]
    for end in ends.values():
        info = end.snapshot(now + 30.0)
        assert (info.unacked, info.notsent_bytes, info.retransmits, info.probes) == (0, 0, 0, 0)
    assert conn.next_event_at() == inf
