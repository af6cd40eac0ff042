"""The transfers of one command line: each URL in turn, and what is told of it.

Nothing is decided here: the options become requests (request_plan), the engine answers them
(haclient.client), and this puts both together. The URLs are asked one after another, on shared
connections and with shared cookies; each has its own error line, its own -w and its own exit code, and
the last one's is the command's, as in curl. A wrong option ends the row.

Most requests need no cookies, trace or -w, so the modules for these are imported where they are first
needed: the start is most of what a quick request costs.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import trio

from haclient import events
from haclient.client import Client
from haclient.core.idempotency import RequestFacts
from haclient.core.spec import IdempotencyKey
from haclient.core.url import Url
from haclient.errors import Error
from haclient.ops.assembly import (
    configured_target,
    readers,
    resolver,
    settings,
    target_with_backups,
)
from haclient.ops.command_line import CommandError
from haclient.ops.exit_codes import ExitCode, error_line, exit_code_for, leaf_of
from haclient.ops.meter import Meter
from haclient.ops.options import RequestOptions
from haclient.ops.output import Output, file_name_of
from haclient.ops.request_plan import Intent, read_intent
from haclient.ops.routes import proxy_for
from haclient.ops.transfer import Transferring

if TYPE_CHECKING:
    from haclient.ops.cookies import CookieJar

__all__ = ["carry_out"]


def carry_out(options: RequestOptions) -> int:
    """Asks for every URL; returns the last one's exit code."""
    with ExitStack() as stack:
        # An interrupt takes hold at once, also while stdin or a slow reader of stdout blocks all.
        return trio.run(Transfers(options, stack).run)


class _Observers:
    """The client's one observer: the meter of the present transfer, and whoever else reads along."""

    def __init__(self, readers: list[events.Observer]) -> None:
        self.meter: Meter | None = None
        self._readers = readers

    def __call__(self, event: events.Event) -> None:
        if self.meter is not None:
            self.meter(event)
        for reader in self._readers:
            reader(event)


class Transfers:
    """The transfers of one command line, and what they share.

    Args:
        options: the command line.
        stack: closes what is opened for all of them.
    """

    def __init__(self, options: RequestOptions, stack: ExitStack) -> None:
        self._options = options
        self._stdin: bytes | None = None
        self._jar: CookieJar | None = None
        self._observers = _Observers(readers(options, stack))
        self._target = configured_target(options)
        self._client = Client(
            observe=self._observers,
            proxy=self._proxy_for,
            resolver=resolver(options),
            **settings(options),
        )

    async def run(self) -> int:
        """Asks them one after another."""
        code = 0
        try:
            async with self._client:
                for number in range(len(self._options.urls)):
                    code, may_go_on = await self._one(number)
                    if not may_go_on:
                        break
        finally:
            self._save_cookies()
        return code

    async def _one(self, number: int) -> tuple[int, bool]:
        """One URL, from its words to what is told of it.

        Returns its exit code, and whether another URL can fare better.
        """
        meter = self._observers.meter = Meter(trio.current_time())
        failure: BaseException | None = None
        is_planned = False
        try:
            intent, url, output = self._plan(number, meter)
            is_planned = True
            with output:
                await self._transferring(number, url, meter, output).run(intent, url)
        except (Error, CommandError, BaseExceptionGroup) as exc:
            failure = leaf_of(exc)
            if not isinstance(failure, Error | CommandError):
                raise
        code, message = 0, ""
        if failure is not None:
            is_proxied = meter.url is not None and self._proxy_for(meter.url) is not None
            code = int(exit_code_for(failure, is_proxied=is_proxied))
            facts = RequestFacts(meter.method, meter.has_idempotency_key)
            message = error_line(failure, is_proxied=is_proxied, is_idempotent=facts.is_idempotent)
            self._complain(message)
        if self._options.write_out is not None:
            self._write_out(self._options.write_out, meter, number, code, message)
        return code, is_planned or isinstance(failure, Error)

    def _plan(self, number: int, meter: Meter) -> tuple[Intent, Url, Output]:
        """What is asked for, where, and what the answer goes to.

        Raises:
            haclient.errors.UrlError: this URL is malformed.
            CommandError: an option cannot be carried out, for no URL.
        """
        intent, url = read_intent(
            self._options,
            number,
            base=self._target.urls[0] if self._target is not None else None,
            read_stdin=self._read_stdin,
            ask_password=_ask_password,
        )
        self._proxy_for(url)  # to refuse a malformed one before anything is done
        meter.url, meter.method, meter.referer = url, intent.method, intent.referer
        meter.has_idempotency_key = intent.sends_line(b"idempotency-key") or self._generates_keys
        meter.output = output = Output(_path_for(self._options, number, url))
        return intent, url, output

    @property
    def _generates_keys(self) -> bool:
        target = self._target
        return target is not None and target.idempotency_key is IdempotencyKey.GENERATE

    def _transferring(self, number: int, url: Url, meter: Meter, output: Output) -> Transferring:
        target = target_with_backups(url, self._options)
        if self._target is not None and self._options.urls[number].startswith("/"):
            # A whole URL is asked where it says, as without --target.
            target = self._target
        cookies = self._cookies_for(url)
        return Transferring(
            self._client, self._options, target, self._proxy_for, meter, cookies, output
        )

    def _proxy_for(self, url: Url) -> Url | None:
        return proxy_for(url, self._options.proxy, self._options.noproxy, os.environ)

    def _read_stdin(self) -> bytes:
        """All of stdin; read once, however often it is named."""
        if self._stdin is None:
            try:
                self._stdin = sys.stdin.buffer.read()
            except OSError as exc:
                raise CommandError(
                    f"stdin cannot be read: {exc.strerror}; name a file", ExitCode.READ_ERROR
                ) from None
        return self._stdin

    def _cookies_for(self, url: Url) -> CookieJar | None:
        """The jar of all URLs; its files are read with the first of them."""
        options = self._options
        if self._jar is None and (options.cookies or options.cookie_jar is not None):
            from haclient.ops.cookies import open_jar, wall_clock

            files, jar_file = options.cookies, options.cookie_jar
            self._jar = open_jar(files, jar_file, url, wall_clock(), self._read_stdin)
        return self._jar

    def _save_cookies(self) -> None:
        path = self._options.cookie_jar
        if path is None or self._jar is None:
            return
        from haclient.ops.cookies import save_jar, wall_clock

        text = self._jar.dump(wall_clock())
        try:
            if path == "-":
                _print(text)
            else:
                save_jar(path, text)
        except OSError as exc:
            # As curl: a warning, for the answer is there.
            self._complain(f"haclient: -c: the cookies cannot be saved in {path!r}: {exc.strerror}")

    def _complain(self, line: str) -> None:
        if self._options.show_error or not self._options.silent:
            sys.stderr.write(line + "\n")

    def _write_out(self, template: str, meter: Meter, number: int, code: int, message: str) -> None:
        from haclient.ops.summary import summarize
        from haclient.ops.write_out import Stream, read_format, render

        transfer = summarize(
            meter,
            self._options.urls[number],
            number,
            trio.current_time(),
            exit_code=code,
            error_message=message.partition(") ")[2],
        )
        for piece in render(read_format(template, self._read_stdin), transfer):
            if piece.stream is Stream.STDOUT:
                _print(piece.text)
            else:
                sys.stderr.write(piece.text)


def _print(text: str) -> None:
    """To stdout, among content; what was not UTF-8 on its way in is itself again."""
    sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape"))
    sys.stdout.buffer.flush()


def _path_for(options: RequestOptions, number: int, url: Url) -> str | None:
    """The file that -o or -O names for a URL; None is stdout."""
    if number >= len(options.outputs):
        return None
    path = options.outputs[number]
    return file_name_of(url) if path is None else path


def _ask_password(user: str) -> str:
    if not sys.stdin.isatty():
        raise CommandError(f"-u {user}: no password; write USER:PASSWORD")
    from getpass import getpass

    return getpass(f"Password of {user}: ")
