"""What a server's head says of its content, and which heads nobody may rely on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haclient.core.fields import response_framing
from haclient.core.response_judge import CHUNKED, UNTIL_CLOSE, Judged, judge_response
from haclient.types import Fields

CL, TE, CONNECTION = b"Content-Length", b"Transfer-Encoding", b"Connection"


@pytest.mark.parametrize(
    ("fields", "length"),
    [
        ([(CL, b"5")], 5),
        ([(b"CONTENT-length", b"005")], 5),
        ([(CL, b"0")], 0),
        ([(CL, b"9" * 18)], 10**18 - 1),
        ([(TE, b"chunked")], CHUNKED),
        ([(b"transfer-encoding", b"Chunked")], CHUNKED),
        ([], UNTIL_CLOSE),
        ([(b"X-Content-Length", b"5")], UNTIL_CLOSE),
    ],
)
def test_how_content_is_framed(fields: list[tuple[bytes, bytes]], length: int) -> None:
    judged = judge_response("GET", 200, b"1.1", b"OK", tuple(fields))
    assert judged == Judged(length, length != UNTIL_CLOSE)


@pytest.mark.parametrize("fields", [(), ((CL, b"5"),), ((TE, b"chunked"),)])
@pytest.mark.parametrize(
    ("method", "status"),
    [("HEAD", 200), ("GET", 204), ("GET", 304), ("GET", 100), ("GET", 101), ("GET", 199)],
)
def test_where_there_is_no_content(method: str, status: int, fields: Fields) -> None:
    assert judge_response(method, status, b"1.1", b"", fields) == Judged(0, True)


@pytest.mark.parametrize(
    ("version", "values", "is_persistent"),
    [
        (b"1.1", [], True),
        (b"1.2", [], True),
        (b"1.1", [b"keep-alive"], True),
        (b"1.1", [b"close"], False),
        (b"1.1", [b"Close"], False),
        (b"1.1", [b"keep-alive, close"], False),
        (b"1.1", [b"x", b"y\t,\tclose"], False),
        (b"1.1", [b"close", b"keep-alive"], False),
        (b"1.1", [b"closed"], True),
        (b"1.0", [], False),
        (b"1.0", [b"keep-alive"], False),
    ],
)
def test_whether_the_connection_goes_on(
    version: bytes, values: list[bytes], is_persistent: bool
) -> None:
    fields = ((CL, b"0"), *((CONNECTION, value) for value in values))
    assert judge_response("GET", 200, version, b"", fields) == Judged(0, is_persistent)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ([(CL, b"5"), (b"content-length", b"5")], "more than one Content-Length"),
        ([(CL, b"5"), (CL, b"6")], "more than one Content-Length"),
        ([(TE, b"chunked"), (TE, b"chunked")], "more than one Transfer-Encoding"),
        ([(TE, b"chunked"), (CL, b"5")], "both"),
        ([(CL, b"5"), (TE, b"chunked")], "both"),
        ([(CL, b"")], "no number"),
        ([(CL, b"5, 5")], "no number"),
        ([(CL, b"+5")], "no number"),
        ([(CL, b"-5")], "no number"),
        ([(CL, b"5_0")], "no number"),
        ([(CL, b"0x5")], "no number"),
        ([(CL, b"\xd9\xa5")], "no number"),
        ([(CL, b"1" * 19)], "no number"),
        ([(TE, b"gzip")], "not understood"),
        ([(TE, b"gzip, chunked")], "not understood"),
        ([(TE, b"chunked, chunked")], "not understood"),
        ([(TE, b"identity")], "not understood"),
        ([(TE, b"")], "not understood"),
        ([(b"X-A", b"a\x00b")], r"b'\x00'"),
        ([(b"X-A", b"a\rb")], r"b'\r'"),
        ([(b"X-A", b"a\nb")], r"b'\n'"),
        ([(b"X-A", b"a\x7fb")], r"b'\x7f'"),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_is_wrong(fields: list[tuple[bytes, bytes]], words: str, method: str) -> None:
    """For HEAD too: a server that says this once says it of its contents as well."""
    judged = judge_response(method, 200, b"1.1", b"OK", tuple(fields))
    assert isinstance(judged, str)
    assert words in judged


def test_chunked_in_http_1_0() -> None:
    assert "HTTP/1.0" in str(judge_response("GET", 200, b"1.0", b"OK", ((TE, b"chunked"),)))


@pytest.mark.parametrize("version", [b"2.0", b"0.9", b"2", b"", b"1.", b"1.10", b"9.1"])
def test_other_versions(version: bytes) -> None:
    assert "is not spoken here" in str(judge_response("GET", 200, version, b"OK", ()))


def test_a_control_character_in_the_reason() -> None:
    assert r"b'\x01'" in str(judge_response("GET", 200, b"1.1", b"O\x01K", ()))
    assert judge_response("GET", 200, b"1.1", b"So \tl\xe0 l\xe0", ((CL, b"1"),)) == Judged(1, True)


VALUES = st.sampled_from([b"5", b"0", b"chunked", b"+5", b"5, 5", b"", b"1" * 19, b"close", b"x"])
NAMES = st.sampled_from([CL, TE, b"content-length", b"TRANSFER-ENCODING", CONNECTION, b"X"])


@given(
    st.sampled_from(["GET", "HEAD", "POST"]),
    st.sampled_from([200, 204, 304, 404]),
    st.lists(st.tuples(NAMES, VALUES), max_size=4).map(tuple),
)
def test_the_client_is_told_what_was_decided(method: str, status: int, fields: Fields) -> None:
    """core.fields looks at the same fields again, to write its own: the two must agree."""
    judged = judge_response(method, status, b"1.1", b"", fields)
    if isinstance(judged, str):
        return
    framing = response_framing(method, status, fields, client_is_http10=False)
    if framing.end.value == "Content-Length":
        assert framing.length == judged.length
    elif framing.end.value == "no content":
        assert judged.length == 0
    else:
        assert judged.length in (CHUNKED, UNTIL_CLOSE)
