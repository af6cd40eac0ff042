"""Response heads: what goes to the client, what never does, and h11 as the judge."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from haclient.core.response_head import write_interim_head, write_response_head
from haclient.types import Fields


@pytest.mark.parametrize(
    ("status", "reason", "fields", "connection", "head"),
    [
        pytest.param(200, b"OK", (), None, b"HTTP/1.1 200 OK\r\n\r\n", id="bare"),
        pytest.param(
            404,
            b"",
            ((b"x-B", b"1"), (b"X-a", b"")),
            None,
            b"HTTP/1.1 404 \r\nx-B: 1\r\nX-a:\r\n\r\n",
            id="no reason; order, letter case and an empty value",
        ),
        pytest.param(
            200,
            b"OK",
            ((b"A", b"1"),),
            b"close",
            b"HTTP/1.1 200 OK\r\nA: 1\r\nConnection: close\r\n\r\n",
            id="close",
        ),
        pytest.param(
            101,
            b"Switching Protocols",
            ((b"Connection", b"Upgrade"), (b"Upgrade", b"websocket")),
            None,
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
            id="101",
        ),
        pytest.param(
            999, b"\xe4 \t!", (), None, b"HTTP/1.1 999 \xe4 \t!\r\n\r\n", id="what others say"
        ),
    ],
)
def test_heads(
    status: int, reason: bytes, fields: Fields, connection: bytes | None, head: bytes
) -> None:
    assert write_response_head(status, reason, fields, connection=connection) == head


def test_interim_heads() -> None:
    assert write_interim_head(100, b"Continue", ()) == b"HTTP/1.1 100 Continue\r\n\r\n"
    hints = ((b"Link", b"</a.css>"),)
    assert (
        write_interim_head(103, b"Early Hints", hints)
        == b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
    )


@pytest.mark.parametrize("status", [99, 101, 200])
def test_what_is_no_interim_status(status: int) -> None:
    with pytest.raises(ValueError, match=f"status {status} is not that of an interim"):
        write_interim_head(status, b"", ())


@pytest.mark.parametrize("status", [99, 100, 103, 1000])
def test_what_is_no_final_status(status: int) -> None:
    with pytest.raises(ValueError, match=f"status {status} is not that of a final"):
        write_response_head(status, b"", ())


@pytest.mark.parametrize(
    ("reason", "field", "words"),
    [
        pytest.param(b"OK\r\nA: b", (b"A", b"b"), "the reason", id="a line in the reason"),
        pytest.param(b"O\0K", (b"A", b"b"), "the reason", id="NUL in the reason"),
        pytest.param(b"OK", (b"A b", b"c"), "name b'A b'", id="blank in a name"),
        pytest.param(b"OK", (b"", b"c"), "name b''", id="empty name"),
        pytest.param(b"OK", (b"A: x\r\nB", b"c"), "not a token", id="a line in a name"),
        pytest.param(b"OK", (b"A", b"x\r\nB: y"), "value of A", id="a line in a value"),
        pytest.param(b"OK", (b"A", b"x\r\n y"), "value of A", id="a folded line"),
        pytest.param(b"OK", (b"A", b"x\x1by"), "value of A", id="ESC in a value"),
        pytest.param(b"OK", (b"A", b"x\r\n\r\nHTTP/1.1 200 OK"), "value of A", id="a response"),
        pytest.param(b"OK", (b"A", b"x "), "blank around", id="blank behind a value"),
    ],
)
def test_what_never_reaches_the_client(
    reason: bytes, field: tuple[bytes, bytes], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        write_response_head(200, reason, (field,))
    with pytest.raises(ValueError, match=words):
        write_interim_head(103, reason, (field,))


def test_a_connection_option_that_begins_a_line_of_its_own() -> None:
    with pytest.raises(ValueError, match="value of Connection"):
        write_response_head(200, b"OK", (), connection=b"close\r\nA: b")


@given(
    status=st.integers(200, 999),
    reason=st.binary(max_size=10),
    fields=st.lists(
        st.tuples(st.from_regex(rb"[!-~\n]{1,5}", fullmatch=True), st.binary(max_size=12)),
        max_size=5,
    ).map(tuple),
)
def test_what_is_written_h11_reads_back_field_for_field(
    status: int, reason: bytes, fields: Fields
) -> None:
    try:
        head = write_response_head(status, reason, fields)
    except ValueError:
        return
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    client.receive_data(head)
    response = client.next_event()
    assert isinstance(response, h11.Response)
    assert (response.status_code, response.reason) == (status, reason)
    assert tuple(response.headers.raw_items()) == fields
