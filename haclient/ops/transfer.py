"""One URL from its first request to the last byte of its answer, redirects followed on the way."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager

import msgspec
import trio

from haclient import events
from haclient.client import Client
from haclient.core.spec import Target
from haclient.core.url import Url, parse_url
from haclient.errors import DeadlineError, Error
from haclient.ops.command_line import CommandError
from haclient.ops.content import InlineContent, LocalFile
from haclient.ops.cookies import CookieJar, wall_clock
from haclient.ops.exit_codes import ExitCode, error_line, exit_code_for, leaf_of
from haclient.ops.options import RequestOptions
from haclient.ops.output import Output, file_name_of
from haclient.ops.progress import Bar
from haclient.ops.redirects import location_of, next_hop
from haclient.ops.request_plan import Intent, RequestPlan, compose
from haclient.ops.verbose import head_lines
from haclient.ops.write_out import Times, Transfer
from haclient.response import Response
from haclient.types import AttemptRecord, Endpoint, Instant

__all__ = ["Meter", "Transferring"]


class Meter(msgspec.Struct, eq=False):
    """Counts what passes, for -w; an observer."""

    connects: int = 0
    head_bytes_sent: int = 0
    bytes_sent: int = 0
    interim_heads: list[bytes] = msgspec.field(default_factory=list)
    remote: Endpoint | None = None
    local: Endpoint | None = None

    def __call__(self, event: events.Event) -> None:
        """Reads one event."""
        match event:
            case events.Connected(_, _, _, endpoint, local, reused, _):
                self.connects += not reused
                self.remote, self.local = endpoint, local
            case events.RequestSent(_, _, _, head, bytes_sent):
                self.head_bytes_sent += len(head)
                self.bytes_sent += max(0, bytes_sent - len(head))
            case events.InterimReceived(_, _, status, fields):
                self.interim_heads.append(head_lines(b"1.1", status, b"", fields))
            case _:
                pass


class Transferring(msgspec.Struct, eq=False):
    """The transfer of one URL; `run` returns what -w and the exit code need of it.

    Attributes:
        client: carries the requests.
        target: where to, with --backup or --target; None asks the URL's own origin.
        meter: one of the client's observers.
    """

    client: Client
    options: RequestOptions
    target: Target | None
    meter: Meter
    jar: CookieJar | None
    number: int = 0
    attempts: list[AttemptRecord] = msgspec.field(default_factory=list)
    response: Response | None = None
    header_bytes: int = 0
    redirects: int = 0
    redirect_url: str = ""
    redirected_at: Instant | None = None
    last: RequestPlan | None = None
    started_at: Instant = 0.0

    async def run(self, intent: Intent, url: Url, path: str | None) -> Transfer:
        """Carries it out, and writes what there is to write.

        Args:
            intent: what was asked for.
            url: where.
            path: of the file to write; None is stdout, empty takes the URL's own name (-O).
        """
        self.started_at = trio.current_time()
        error: BaseException | None = None
        output = Output(None)
        try:
            with Output(
                file_name_of(url) if path == "" else path, may_be_binary=path == "-"
            ) as output:
                await self._follow(intent, url, output)
        except (Error, CommandError, OSError, BaseExceptionGroup) as exc:
            error = leaf_of(exc)
            if isinstance(error, (KeyboardInterrupt, BrokenPipeError)):
                raise
            self.attempts += getattr(error, "attempts", ())
        return self._summary(intent, url, output, error)

    async def _follow(self, intent: Intent, url: Url, output: Output) -> None:
        target = self.target
        while True:
            cookies = self.jar.field_for(url, wall_clock()) if self.jar is not None else b""
            plan = self.last = compose(intent, url, cookies)
            async with self._answer(plan, target) as response:
                self._note_head(response, plan, output)
                location = location_of(response.status, response.fields)
                if location is None or not self.options.location:
                    self.redirect_url = str(url.join(location)) if location else ""
                    await self._deliver(response, plan, output)
                    return
                # The content of a redirect is read, not shown: its connection serves on.
                async with self._before_the_deadline(response):
                    await response.read()
                hop = next_hop(
                    intent,
                    url,
                    response.status,
                    location,
                    followed=self.redirects,
                    limit=self.options.max_redirs,
                )
            self.redirects += 1
            self.redirected_at = trio.current_time()
            intent, url = hop.intent, hop.url
            target = target if hop.is_same_origin else None

    @asynccontextmanager
    async def _answer(self, plan: RequestPlan, target: Target | None) -> AsyncIterator[Response]:
        """The request's answer; its attempts are kept when it is over."""
        async with AsyncExitStack() as stack:
            content = plan.content
            source: object = None
            if isinstance(content, InlineContent):
                source = content.data
            elif isinstance(content, LocalFile):
                source = stack.enter_context(open(content.path, "rb"))  # noqa: ASYNC230, SIM115
            elif content is not None:
                source = sys.stdin.buffer
            url = plan.url.path_and_query if target is not None else str(plan.url)
            response = await stack.enter_async_context(
                self.client.stream(
                    plan.method,
                    url,
                    headers=plan.fields,
                    content=source,  # type: ignore[arg-type]
                    target=target,
                    timeout=self._time_left(),
                )
            )
            self.response = response
            try:
                yield response
            finally:
                response.close()
                self.attempts += response.attempts

    def _time_left(self) -> float | None:
        """Seconds of -m that are left; never negative."""
        if self.options.max_time is None:
            return None
        return max(0.0, self.started_at + self.options.max_time - trio.current_time())

    def _note_head(self, response: Response, plan: RequestPlan, output: Output) -> None:
        head = head_lines(
            response.http_version.encode(),
            response.status,
            response.reason.encode("latin-1"),
            response.fields,
        )
        self.header_bytes += len(head) + sum(map(len, self.meter.interim_heads))
        if self.options.include or self.options.head:
            output.write_head(b"".join([*self.meter.interim_heads, head]))
        self.meter.interim_heads.clear()
        if self.jar is not None:
            self.jar.store(response.fields, plan.url, wall_clock())

    async def _deliver(self, response: Response, plan: RequestPlan, output: Output) -> None:
        """Writes the content as it arrives."""
        is_failure = response.status >= 400
        if is_failure and self.options.fail:
            raise CommandError(self._refusal(response, plan), ExitCode.HTTP_ERROR)
        total = response.headers.get("content-length", "")
        length = int(total) if total.isdigit() else None
        bar = self._bar(plan, output)
        try:
            async with self._before_the_deadline(response):
                async for data in response:
                    output.write(data)
                    if bar is not None:
                        bar.move(trio.current_time(), output.written, length)
        finally:
            if bar is not None:
                bar.close()
        output.touch()
        output.flush()
        if is_failure and self.options.fail_with_body:
            raise CommandError(self._refusal(response, plan), ExitCode.HTTP_ERROR)

    @asynccontextmanager
    async def _before_the_deadline(self, response: Response) -> AsyncIterator[None]:
        left = self._time_left()
        if left is None:
            yield
            return
        with trio.move_on_after(left) as scope:
            yield
        if scope.cancelled_caught:
            response.close()
            raise DeadlineError(
                f"the response was not whole after {self.options.max_time:g} s (-m)",
                may_have_been_processed=True,
            )

    def _bar(self, plan: RequestPlan, output: Output) -> Bar | None:
        options = self.options
        if options.silent or options.no_progress_meter:
            return None
        if not Bar.fits(to_terminal=output.is_terminal):
            return None
        name = os.path.basename(output.path or "") or plan.url.origin.host
        return Bar(name, self.started_at, is_eager=options.progress_bar)

    def _refusal(self, response: Response, plan: RequestPlan) -> str:
        return f"{plan.url} was answered with {response.status} {response.reason}".rstrip()

    def _summary(
        self, intent: Intent, url: Url, output: Output, error: BaseException | None
    ) -> Transfer:
        response, meter = self.response, self.meter
        is_answered = response is not None and (error is None or not isinstance(error, Error))
        ended_at = trio.current_time()
        last_url = self.last.url if self.last is not None else url
        attempts = tuple(self.attempts)
        firsts = [i for i, one in enumerate(attempts) if one.number == 1]
        return Transfer(
            url=self.options.urls[self.number],
            url_effective=str(last_url),
            method=self.last.method if self.last is not None else intent.method,
            exit_code=int(exit_code_for(error)) if error is not None else 0,
            error_message=error_line(error).partition(") ")[2] if error is not None else "",
            http_code=response.status if response is not None else 0,
            http_version=response.http_version if response is not None else "0",
            scheme=last_url.origin.scheme if attempts else "",
            content_type=response.headers.get("content-type", "") if response is not None else "",
            redirect_url=self.redirect_url,
            referer=intent.referer.decode("latin-1"),
            filename=output.path or "" if is_answered else "",
            fields=response.fields if response is not None else (),
            times=Times.of(
                attempts[firsts[-1] :] if firsts else (),
                self.started_at,
                ended_at,
                redirected_at=self.redirected_at,
            ),
            size_download=output.written,
            size_upload=meter.bytes_sent,
            size_header=self.header_bytes,
            size_request=meter.head_bytes_sent,
            remote=meter.remote,
            local=meter.local,
            num_connects=meter.connects,
            num_redirects=self.redirects,
            num_retries=len(attempts) - len(firsts),
            urlnum=self.number,
            attempts=attempts,
        )


def bare(url: Url) -> Url:
    """A URL's origin alone, as a target's URL."""
    return Url(url.origin, "/")


def target_for(url: Url, options: RequestOptions, settings: Callable[..., Target]) -> Target | None:
    """With --backup, the target whose first choice is `url`'s origin."""
    if not options.backups:
        return None
    return settings(urls=(bare(url),), backups=tuple(map(parse_url, options.backups)))
