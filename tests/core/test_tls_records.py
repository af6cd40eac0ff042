"""Where TLS records end, however they come in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from haclient.core.tls_records import AT_ONCE, Records


def record(size: int) -> bytes:
    return b"\x17\x03\x03" + size.to_bytes(2, "big") + bytes(size)


def pieces(records: Records, data: bytes) -> list[tuple[int, int]]:
    found = []
    while data:
        size, ended = records.cut(data)
        found.append((size, ended))
        data = data[size:]
    return found


def test_records_of_bulk_are_one_piece() -> None:
    data = record(16_401) * 4
    assert pieces(Records(), data) == [(len(data), 4)]


def test_small_ones_are_cut() -> None:
    assert pieces(Records(), record(22) * 70) == [(27 * AT_ONCE, 32), (27 * AT_ONCE, 32), (162, 6)]


def test_one_that_comes_in_parts() -> None:
    records, data = Records(), record(100)
    assert records.cut(data[:3]) == (3, 0)
    assert records.cut(data[3:10]) == (7, 0)
    assert repr(records) == "<Records, 95 bytes of one to come>"
    assert records.cut(data[10:] + data[:1]) == (96, 1)
    assert records.cut(data[1:]) == (104, 1)


def test_empty_ones_are_records() -> None:
    assert pieces(Records(), record(0) * (AT_ONCE + 1)) == [(5 * AT_ONCE, AT_ONCE), (5, 1)]


@given(st.lists(st.integers(0, 300), max_size=80), st.lists(st.integers(1, 2000), max_size=40))
def test_however_they_come_in(sizes: list[int], cuts: list[int]) -> None:
    data, records, ended = b"".join(map(record, sizes)), Records(), 0
    for cut in [*cuts, len(data)]:
        coming, data = data[:cut], data[cut:]
        found = pieces(records, coming)
        assert sum(size for size, _ in found) == len(coming)
        assert all(count <= AT_ONCE for _, count in found)
        ended += sum(count for _, count in found)
    assert ended == len(sizes)
