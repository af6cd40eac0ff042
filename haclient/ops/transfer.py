"""One URL from its first request to the last byte of its answer, redirects followed on the way.

What goes wrong is raised as it is: whoever asked for the transfer knows how to tell it, and finds in
the meter how far it came.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, BinaryIO, cast

import msgspec
import trio

from haclient.client import Client
from haclient.core.spec import Target
from haclient.core.url import Url
from haclient.errors import DeadlineError, Error
from haclient.ops.command_line import CommandError
from haclient.ops.content import Content, InlineContent, LocalFile, StandardInput
from haclient.ops.exit_codes import ExitCode
from haclient.ops.meter import Meter
from haclient.ops.options import RequestOptions
from haclient.ops.output import Output, head_lines
from haclient.ops.progress import Bar
from haclient.ops.request_plan import Intent, RequestPlan, compose
from haclient.response import Response
from haclient.types import Phase

if TYPE_CHECKING:
    from haclient.ops.cookies import CookieJar

__all__ = ["Transferring"]

IGNORED_BYTES = 65536
"""Of a redirect's content, read so that its connection serves on; a longer one is not worth it."""


class Transferring(msgspec.Struct, eq=False):
    """The transfer of one URL.

    Attributes:
        client: carries the requests.
        options: the command line.
        target: where to, with --backup or --target; None asks the URL's own origin.
        proxy_for: the forward proxy for a URL, or None.
        meter: one of the client's observers; what becomes known is noted there.
        jar: the cookies, where there are to be any.
        output: where the answer goes.
    """

    client: Client
    options: RequestOptions
    target: Target | None
    proxy_for: Callable[[Url], Url | None]
    meter: Meter
    jar: CookieJar | None
    output: Output

    async def run(self, intent: Intent, url: Url) -> None:
        """Carries it out, and writes what there is to write.

        Raises:
            haclient.errors.Error: no whole answer.
            CommandError: a file, the output, or (with -f) the status.
            BrokenPipeError: whoever read stdout has left.
            BaseExceptionGroup: one of these in a group, while a bar is shown.
        """
        bar = self._bar(url)
        if bar is None:
            await self._follow(intent, url, None)
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(bar.show_in_time)
            try:
                await self._follow(intent, url, bar)
            finally:
                nursery.cancel_scope.cancel()
                bar.close()

    async def _follow(self, intent: Intent, url: Url, bar: Bar | None) -> None:
        target = self.target
        while True:
            async with self._answer(intent, url, target) as response:
                location = self._location(response)
                if not self.options.location or not location:
                    self.meter.location = location
                    await self._deliver(response, url, bar)
                    return
                async with self._before_the_deadline(response, url):
                    await _ignore(response)
            from haclient.ops.redirects import next_hop

            hop = next_hop(
                intent,
                url,
                response.status,
                location,
                followed=self.meter.redirects,
                limit=self.options.max_redirs,
            )
            self.meter.redirects += 1
            self.meter.redirected_at = trio.current_time()
            intent, url = hop.intent, hop.url
            target = target if hop.is_same_origin else None

    @asynccontextmanager
    async def _answer(
        self, intent: Intent, url: Url, target: Target | None
    ) -> AsyncIterator[Response]:
        """The answer to the request for `url`, its head noted; its attempts are kept when it is over."""
        plan = self._plan(intent, url)
        meter = self.meter
        meter.url, meter.method = url, plan.method
        async with AsyncExitStack() as stack:
            try:
                response = await stack.enter_async_context(
                    self.client.stream(
                        plan.method,
                        url.path_and_query if target is not None else str(url),
                        headers=plan.fields,
                        content=stack.enter_context(_source(plan.content)),
                        target=target,
                        timeout=self._time_left(),
                    )
                )
            except Error as error:
                meter.attempts += error.attempts
                raise self._as_asked(error) from None
            try:
                self._note_head(response, url)
                yield response
            finally:
                response.close()
                meter.attempts += response.attempts

    def _plan(self, intent: Intent, url: Url) -> RequestPlan:
        cookies = b""
        if self.jar is not None:
            cookies = self.jar.field_for(url, _wall_clock())
        # Through a tunnel the proxy sees nothing of the request.
        proxy = None if url.origin.is_secure else self.proxy_for(url)
        return compose(intent, url, cookies, proxy)

    def _as_asked(self, error: Error) -> Error:
        """An engine's deadline is what was left of -m; the user knows only the whole of it."""
        if not isinstance(error, DeadlineError) or not error.attempts:
            return error
        return DeadlineError(
            f"no answer within the {self.options.max_time:g} s of -m: "
            f"{error.attempts[-1].describe()}",
            stage=error.stage,
            may_have_been_processed=error.may_have_been_processed,
            attempts=error.attempts,
        )

    def _time_left(self) -> float | None:
        """Seconds of -m that are left; never negative."""
        if self.options.max_time is None:
            return None
        return max(0.0, self.meter.started_at + self.options.max_time - trio.current_time())

    def _note_head(self, response: Response, url: Url) -> None:
        meter, options = self.meter, self.options
        meter.response = response
        if options.include or options.head or options.write_out is not None:
            head = b"".join([*meter.interim_heads, _head_of(response)])
            meter.head_bytes_received += len(head)
            if options.include or options.head:
                self.output.write_head(head)
        if self.jar is not None:
            self.jar.store(response.fields, url, _wall_clock())

    def _location(self, response: Response) -> str:
        """Where the answer redirects to; empty where it does not."""
        if not 300 <= response.status <= 399:
            return ""
        from haclient.ops.redirects import location_of

        return location_of(response.status, response.fields) or ""

    async def _deliver(self, response: Response, url: Url, bar: Bar | None) -> None:
        """Writes the content as it arrives."""
        options, output = self.options, self.output
        is_failure = response.status >= 400
        if is_failure and options.fail:
            raise _refusal(url, response, "leave -f out to see what it says")
        length = response.headers.get("content-length", "")
        total = int(length) if length.isdigit() else None
        async with self._before_the_deadline(response, url):
            async for data in response:
                output.write(data)
                if bar is not None:
                    bar.move(trio.current_time(), output.written, total)
        output.finish()
        if is_failure and options.fail_with_body:
            raise _refusal(url, response, "what it says is in the output")

    @asynccontextmanager
    async def _before_the_deadline(self, response: Response, url: Url) -> AsyncIterator[None]:
        left = self._time_left()
        if left is None:
            yield
            return
        with trio.move_on_after(left) as scope:
            yield
        if scope.cancelled_caught:
            response.close()
            raise DeadlineError(
                f"the response was not whole within the {self.options.max_time:g} s of -m: "
                f"{self.meter.remote or url.origin} sent {self.output.written} bytes of content",
                stage=Phase.RECEIVING,
                may_have_been_processed=True,
            )

    def _bar(self, url: Url) -> Bar | None:
        """None where nobody would see it, or something else writes to the same terminal."""
        options = self.options
        if options.silent or options.no_progress_meter or options.verbose or options.trace:
            return None
        if not Bar.fits(to_terminal=self.output.is_terminal):
            return None
        name = os.path.basename(self.output.path or "") or url.origin.host
        return Bar(name, self.meter.started_at, is_eager=options.progress_bar)


@contextmanager
def _source(content: Content | None) -> Iterator[bytes | BinaryIO | None]:
    """The content as the client takes it; a file is closed afterwards.

    Raises:
        CommandError: it cannot be opened (26).
    """
    match content:
        case None:
            yield None
        case InlineContent(data):
            yield data
        case LocalFile(path):
            # Opening a pipe waits for its writer; nothing is outstanding that would be kept waiting.
            with _opened(path, f"-T: the file {path!r}") as file:
                yield file
        case StandardInput():
            # Without sys.stdin's buffer: a thread that still waits in there when all is over would
            # hold its lock, and the interpreter dies of that (Fatal Python error, CPython 3.11).
            with open(sys.stdin.fileno(), "rb", buffering=0, closefd=False) as file:
                yield cast("BinaryIO", file)


def _opened(path: str, what: str) -> BinaryIO:
    try:
        return open(path, "rb")
    except OSError as exc:
        raise CommandError(f"{what} cannot be read: {exc.strerror}", ExitCode.READ_ERROR) from None


async def _ignore(response: Response) -> None:
    """Reads the content to its end, if that is not far."""
    ignored_bytes = 0
    async for data in response:
        ignored_bytes += len(data)
        if ignored_bytes > IGNORED_BYTES:
            response.close()
            return


def _head_of(response: Response) -> bytes:
    return head_lines(
        response.http_version.encode("latin-1"),
        response.status,
        response.reason.encode("latin-1"),
        response.fields,
    )


def _refusal(url: Url, response: Response, remedy: str) -> CommandError:
    status = f"{response.status} {response.reason}".rstrip()
    return CommandError(f"{url} was answered with {status}; {remedy}", ExitCode.HTTP_ERROR)


def _wall_clock() -> float:
    from haclient.ops.cookies import wall_clock

    return wall_clock()
