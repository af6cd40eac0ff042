"""One URL's transfer on the simulated network: redirects, deadlines, and what is noted of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from haclient.core.spec import Target
from haclient.core.url import Url, parse_url
from haclient.errors import (
    ConnectError,
    DeadlineError,
    ResponseIncompleteError,
    TooManyRedirectsError,
)
from haclient.ops.command_line import CommandError
from haclient.ops.content import LocalFile, StandardInput
from haclient.ops.cookies import CookieJar
from haclient.ops.exit_codes import leaf_of
from haclient.ops.meter import Meter
from haclient.ops.options import parse_options
from haclient.ops.output import Output
from haclient.ops.progress import Bar
from haclient.ops.request_plan import read_intent
from haclient.ops.transfer import IGNORED_BYTES, Transferring, _source
from haclient.types import Phase, Verdict
from tests.engine.world import BACKED_UP, World, world
from tests.sim.effects import AfterContentBytes, AfterRequest, Blackhole, Fault, Fin, Kill
from tests.sim.origin import ReceivedRequest, Reply

PROXY = parse_url("http://u:p@c.test/")


def redirect(location: str, status: int = 302, content: bytes = b"", think: float = 0.0) -> Reply:
    return Reply(status, content, fields=((b"Location", location.encode()),), think=think)


def by_path(**replies: Reply) -> Callable[[ReceivedRequest], Reply]:
    """The reply that the first part of the path names; else a plain one."""

    def reply(request: ReceivedRequest) -> Reply:
        return replies.get(request.target.decode().strip("/"), Reply())

    return reply


class Transfer:
    """One command line, carried out in a world."""

    def __init__(self, w: World, folder: Path, *words: str, target: Target | None = None) -> None:
        self.w = w
        self.file = folder / "out"
        self.meter = Meter(trio.current_time())
        self.jar: CookieJar | None = None
        self.proxy: Url | None = None
        self.options = parse_options(list(words))
        self.intent, self.url = read_intent(
            self.options, 0, read_stdin=bytes, ask_password=lambda user: ""
        )
        self.target = target

    async def run(self) -> bytes:
        """Returns what was written."""
        with Output(str(self.file)) as output:
            transfer = Transferring(
                self.w.client,
                self.options,
                self.target,
                lambda url: self.proxy,
                self.meter,
                self.jar,
                output,
            )
            await transfer.run(self.intent, self.url)
        return self.file.read_bytes()

    @property
    def verdicts(self) -> list[Verdict]:
        return [one.verdict for one in self.meter.attempts]


class TestAnswer:
    async def test_content_is_written_and_the_rest_noted(
        self, autojump_clock: MockClock, tmp_path: Path
    ) -> None:
        async with world() as w:
            transfer = Transfer(w, tmp_path, "-w", "x", "http://a.test/p?q")
            content = await transfer.run()

            meter = transfer.meter
            assert content == b"a: GET /p?q \n"
            assert (str(meter.url), meter.method) == ("http://a.test/p?q", "GET")
            assert meter.response is not None
            assert meter.response.status == 200
            assert transfer.verdicts == [Verdict.ANSWERED]
            assert meter.head_bytes_received > 0
            assert (meter.redirects, meter.location) == (0, "")

    async def test_the_head_comes_before_the_content(
        self, autojump_clock: MockClock, tmp_path: Path
    ) -> None:
        async with world() as w:
            content = await Transfer(w, tmp_path, "-i", "http://a.test/").run()

            head, _, rest = content.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"\r\nX-Origin: a\r\n" in head + b"\r\n"
            assert rest == b"a: GET / \n"

    @pytest.mark.parametrize(
        ("option", "remedy", "content"),
        [
            ("-f", "leave -f out", None),
            ("--fail-with-body", "what it says is in the output", b"a: GET / \n"),
        ],
    )
    async def test_a_refusal_with_f(
        self,
        option: str,
        remedy: str,
        content: bytes | None,
        autojump_clock: MockClock,
        tmp_path: Path,
    ) -> None:
        async with world() as w:
            w.a.reply = Reply(404)
            transfer = Transfer(w, tmp_path, option, "http://a.test/")
            with pytest.raises(CommandError, match=f"was answered with 404 .*; {remedy}") as caught:
                await transfer.run()

            assert caught.value.exit_code == 22
            assert transfer.file.exists() is (content is not None)
            assert content is None or transfer.file.read_bytes() == content
            assert transfer.verdicts == [Verdict.ANSWERED]

    async def test_another_server_answers(self, autojump_clock: MockClock, tmp_path: Path) -> None:
        async with world(Fault(Kill(), AfterRequest())) as w:
            transfer = Transfer(w, tmp_path, "http://ab.test/")
            assert await transfer.run() == b"b: GET / \n"
            assert transfer.verdicts == [Verdict.CLOSED, Verdict.ANSWERED]

    async def test_half_an_answer_is_written_and_told_of_once(
        self, autojump_clock: MockClock, tmp_path: Path
    ) -> None:
        async with world(Fault(Fin(), AfterContentBytes(3))) as w:
            transfer = Transfer(w, tmp_path, "http://ab.test/")
            with pytest.raises(ResponseIncompleteError):
                await transfer.run()

            assert transfer.file.read_bytes() == b"a: "
            assert transfer.verdicts == [Verdict.CLOSED]

    async def test_the_attempts_of_no_answer_are_noted(
        self, autojump_clock: MockClock, tmp_path: Path
    ) -> None:
        async with world() as w:
            w.network.refuse(w.a.endpoint)
            transfer = Transfer(w, tmp_path, "http://a.test/")
            with pytest.raises(ConnectError):
                await transfer.run()

            assert transfer.verdicts == [Verdict.REFUSED]
            assert not transfer.file.exists()


class TestRedirects:
    async def test_one_that_is_not_followed_is_the_answer(
        self, autojump_clock: MockClock, tmp_path: Path
    ) -> None:
        async with world() as w:
            w.a.reply = redirect("no://where at all", content=b"red")
            transfer = Transfer(w, tmp_path, "http://a.test/")
            assert await transfer.run() == b"red"
            assert (transfer.meter.redirects, transfer.meter.location) == (0, "no://where at all")

    async def test_a_row_of_them_is_one_transfer(
        self, autojump_clock: MockClock, tmp_path: Path
    ) -> None:
        async with world() as w:
            w.a.reply = by_path(
                one=redirect("/two", 307, think=1.0), two=redirect("http://b.test/three", 303)
            )
            transfer = Transfer(w, tmp_path, "-L", "-d", "x", "-u", "me:x", "http://a.test/one")
            began_at = trio.current_time()
            assert await transfer.run() == b"b: GET /three \n"

            assert transfer.meter.redirects == 2
            assert transfer.meter.redirected_at == pytest.approx(began_at + 1.0, abs=0.1)
            assert [one.number for one in transfer.meter.attempts] == [1, 1, 1]
            assert (str(transfer.meter.url), transfer.meter.method) == (
                "http://b.test/three",
                "GET",
            )
            [first, second] = w.a.executed
            assert (first.content, second.content) == (b"x", b"x")
            credentials = [one.value(b"authorization") for one in (first, second)]
            assert credentials == [b"Basic bWU6eA=="] * 2
            assert w.b.executed[0].value(b"authorization") is None

    @pytest.mark.parametrize(
        ("size", "connections"),
        [(0, 1), (IGNORED_BYTES, 1), (IGNORED_BYTES * 4, 2)],
        ids=["none", "some", "much"],
    )
    async def test_their_content_is_read_where_that_is_quick(
        self, size: int, connections: int, autojump_clock: MockClock, tmp_path: Path
    ) -> None:
        async with world() as w:
            w.a.reply = by_path(one=redirect("/two", content=b"x" * size))
            assert await Transfer(w, tmp_path, "-L", "http://a.test/one").run() == b"a: GET /two \n"
            assert len({request.connection for request in w.a.executed}) == connections

    async def test_too_many(self, autojump_clock: MockClock, tmp_path: Path) -> None:
        async with world() as w:
            w.a.reply = redirect("/")
            transfer = Transfer(w, tmp_path, "-L", "--max-redirs", "2", "http://a.test/")
            with pytest.raises(TooManyRedirectsError):
                await transfer.run()

            assert (transfer.meter.redirects, len(w.a.executed)) == (2, 3)

    async def test_backups_stand_in_for_their_own_origin_only(
        self, autojump_clock: MockClock, tmp_path: Path
    ) -> None:
        async with world() as w:
            w.a.reply = by_path(one=redirect("http://c.test/two"))
            w.network.refuse(w.c.endpoint)
            transfer = Transfer(w, tmp_path, "-L", "http://a.test/one", target=BACKED_UP)
            with pytest.raises(ConnectError):
                await transfer.run()

            assert w.b.executed == []

    async def test_cookies_go_along(self, autojump_clock: MockClock, tmp_path: Path) -> None:
        async with world() as w:
            seen = (b"Set-Cookie", b"seen=1; path=/")
            w.a.reply = by_path(one=Reply(302, fields=((b"Location", b"/two"), seen)))
            transfer = Transfer(w, tmp_path, "-L", "http://a.test/one")
            transfer.jar = CookieJar()
            await transfer.run()

            assert [one.value(b"cookie") for one in w.a.executed] == [None, b"seen=1"]


class TestDeadline:
    async def test_before_the_head(self, autojump_clock: MockClock, tmp_path: Path) -> None:
        async with world() as w:
            w.a.reply = Reply(think=9.0)
            transfer = Transfer(w, tmp_path, "-m", "2.5", "http://a.test/")
            began_at = trio.current_time()
            with pytest.raises(DeadlineError) as caught:
                await transfer.run()

            assert trio.current_time() == began_at + 2.5
            assert str(caught.value) == (
                "no answer within the 2.5 s of -m: "
                "10.0.0.1:80: cancelled while waiting after 2.50 s"
            )
            assert (caught.value.stage, caught.value.may_have_been_processed) == (
                Phase.WAITING,
                True,
            )
            assert transfer.verdicts == [Verdict.CANCELLED]

    async def test_within_the_content(self, autojump_clock: MockClock, tmp_path: Path) -> None:
        async with world(Fault(Blackhole(), AfterContentBytes(3))) as w:
            transfer = Transfer(w, tmp_path, "-m", "1.5", "http://a.test/")
            began_at = trio.current_time()
            with pytest.raises(DeadlineError) as caught:
                await transfer.run()

            assert trio.current_time() == began_at + 1.5
            assert str(caught.value) == (
                "the response was not whole within the 1.5 s of -m: "
                "http://a.test sent 3 bytes of content"
            )
            assert caught.value.stage is Phase.RECEIVING
            assert transfer.file.read_bytes() == b"a: "

    async def test_is_one_for_a_row_of_redirects(
        self, autojump_clock: MockClock, tmp_path: Path
    ) -> None:
        async with world() as w:
            w.a.reply = redirect("/", think=1.0)
            transfer = Transfer(w, tmp_path, "-L", "-m", "2.5", "http://a.test/")
            began_at = trio.current_time()
            with pytest.raises(DeadlineError, match=r"within the 2\.5 s of -m"):
                await transfer.run()

            assert trio.current_time() == began_at + 2.5
            assert transfer.verdicts == [Verdict.ANSWERED, Verdict.ANSWERED, Verdict.CANCELLED]

    async def test_is_not_there_unless_it_is_asked_for(
        self, autojump_clock: MockClock, tmp_path: Path
    ) -> None:
        async with world() as w:
            w.a.reply = Reply(think=30.0)
            assert await Transfer(w, tmp_path, "-m", "0", "http://a.test/").run() == b"a: GET / \n"


class TestProxy:
    async def test_it_gets_its_fields_where_curl_has_them(
        self, autojump_clock: MockClock, tmp_path: Path
    ) -> None:
        async with world(proxy=PROXY) as w:
            transfer = Transfer(w, tmp_path, "-H", "X: 1", "-u", "me:x", "http://a.test/")
            transfer.proxy = PROXY
            await transfer.run()

            [request] = w.c.executed
            assert request.target == b"http://a.test/"
            assert [name for name, _ in request.fields] == [
                b"Host",
                b"Proxy-Authorization",
                b"Authorization",
                b"User-Agent",
                b"Accept",
                b"Proxy-Connection",
                b"X",
            ]


class TestContent:
    def test_a_file_is_opened_for_as_long_as_it_is_sent(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_bytes(b"some")
        with _source(LocalFile(str(tmp_path / "file"), 4)) as source:
            assert not isinstance(source, bytes | None)
            assert source.read() == b"some"

        assert source.closed

    def test_a_file_that_is_gone_by_then(self) -> None:
        with (
            pytest.raises(
                CommandError, match="-T: the file 'nowhere' cannot be read: No such"
            ) as caught,
            _source(LocalFile("nowhere", 4)),
        ):
            pass

        assert caught.value.exit_code == 26

    def test_stdin_is_read_without_its_buffer_and_left_open(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "file").write_bytes(b"some")
        with open(tmp_path / "file") as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            with _source(StandardInput()) as source:
                assert not isinstance(source, bytes | None)
                assert source.read(2) == b"so"
            assert os.read(stdin.fileno(), 9) == b"me"


class TestBar:
    @pytest.fixture
    def shown(self, monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, int, int | None]]:
        """What a bar would show, and when; the bar itself is that of test_progress.py."""
        calls: list[tuple[float, int, int | None]] = []
        monkeypatch.setattr(Bar, "fits", staticmethod(lambda *, to_terminal: not to_terminal))
        monkeypatch.setattr(Bar, "_show", lambda bar: calls.append(_state(bar)))
        return calls

    async def test_waiting_and_content_are_shown(
        self,
        shown: list[tuple[float, int, int | None]],
        autojump_clock: MockClock,
        tmp_path: Path,
    ) -> None:
        async with world() as w:
            w.a.reply = Reply(think=3.0, content=b"some")
            began_at = trio.current_time()
            assert await Transfer(w, tmp_path, "http://a.test/").run() == b"some"

            assert shown[0] == (began_at + 1.0, 0, None)
            assert shown[-1][1:] == (4, 4)

    async def test_an_error_comes_through(
        self,
        shown: list[tuple[float, int, int | None]],
        autojump_clock: MockClock,
        tmp_path: Path,
    ) -> None:
        async with world() as w:
            w.a.reply = Reply(think=9.0)
            with pytest.raises(BaseExceptionGroup) as caught:
                await Transfer(w, tmp_path, "-m", "2", "http://a.test/").run()

            assert isinstance(leaf_of(caught.value), DeadlineError)
            assert len(shown) == 1

    @pytest.mark.parametrize("option", ["-s", "--no-progress-meter", "-v", "--trace"])
    async def test_not_with(
        self,
        option: str,
        shown: list[tuple[float, int, int | None]],
        autojump_clock: MockClock,
        tmp_path: Path,
    ) -> None:
        async with world() as w:
            w.a.reply = Reply(think=3.0)
            await Transfer(w, tmp_path, option, "http://a.test/").run()
            assert shown == []


def _state(bar: Bar) -> tuple[float, int, int | None]:
    return trio.current_time(), bar._done, bar._total
