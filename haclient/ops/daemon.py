"""The process: starts the data plane, listens to signals, reloads, drains, and tells the service manager.

    start      sockets of the service manager, then ours; READY=1 when every door is open
    SIGHUP     the file is read again, whole: it replaces the old one at once, or changes nothing
    SIGTERM    (and SIGINT) no more is accepted, what is outstanding is finished, bounded by
               drain_timeout; a second one ends it at once
    watchdog   fed by a task of the loop: a loop that stands still is killed and started again

A fault in a connection ends that connection and is told in the log; one in here ends the process with
an exit code, for the service manager to start it anew.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterable

import trio

from haclient._version import __version__
from haclient.core.config import Config, ResolverSettings
from haclient.net.listening import BindError
from haclient.net.resolver import SystemResolver
from haclient.ops.access_log import AccessLog
from haclient.ops.admin_server import AdminServer
from haclient.ops.book import Book
from haclient.ops.changes import watch_changes
from haclient.ops.command_line import CommandError
from haclient.ops.config_file import load
from haclient.ops.exit_codes import ExitCode
from haclient.ops.full_door_log import FullDoorLog
from haclient.ops.inherited import inherited_sockets
from haclient.ops.log import Level, Log, is_journal
from haclient.ops.name_log import name_log
from haclient.ops.reload_report import changes
from haclient.ops.sdnotify import Notifier, watchdog_interval
from haclient.ops.status_report import OrderReport
from haclient.ops.steps_log import StepsLog
from haclient.ops.turned_away_log import TurnedAwayLog
from haclient.proxy.door import Door
from haclient.proxy.record import ExchangeRecord, TurnedAway
from haclient.proxy.sidecar import Sidecar
from haclient.proxy.trust import TrustError

__all__ = ["Daemon", "run_daemon"]

KEPT_FREE = 32
"""Descriptors: 13 at rest with two listeners (measured), the others for the admin endpoint's clients, the
resolver, and a race, which opens a few for one."""

BEHIND_THE_DRAIN = 5.0
"""Seconds that the service manager is asked for beyond drain_timeout: tasks end and the last names are
written, which takes milliseconds, or as long as a slow disk does."""

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def run_daemon(config_file: str, config: Config) -> int:
    """Runs until told to end; returns the exit code.

    Raises:
        CommandError: exit code 78: an address of the file cannot be listened on.
    """
    raise_descriptor_limit()
    log = Log(config.log, sys.stderr, is_journal(sys.stderr))
    try:
        return trio.run(Daemon(config_file, config, log).run)
    finally:
        log.close()


def raise_descriptor_limit() -> None:
    """As many descriptors as this process may have: the soft limit is for programs that use select(2)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def clients_that_fit() -> int:
    """As many as leave each one a descriptor for a server, and the process its own.

    Clients that took the last one would sit inside and get nothing: no connection to a server could be
    opened for them, and the admin endpoint would answer nobody.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if limit == resource.RLIM_INFINITY else max(1, (limit - KEPT_FREE) // 2)


class Daemon:
    """See the module's docstring.

    Attributes:
        sidecar: the data plane, once it has started.
        generation: how often a configuration was loaded.
        started_at: Unix time.
    """

    sidecar: Sidecar

    def __init__(self, config_file: str, config: Config, log: Log) -> None:
        self.config_file = os.path.abspath(config_file)
        self.generation = 1
        self.started_at = time.clock_gettime(time.CLOCK_REALTIME)
        self._config = config
        self._log = log
        self._access = AccessLog(log)
        self._turned_away = TurnedAwayLog(log)
        self._full = FullDoorLog(log)
        self._book = Book()
        self._notifier = Notifier.from_environment()
        self._resolver = resolver_for(config.resolver, log)
        self._ending = trio.Event()

    async def run(self) -> int:
        """Serves until it was told to end, and has drained.

        Raises:
            CommandError: an address cannot be listened on.
        """
        inherited = inherited_sockets()
        with trio.open_signal_receiver(*SIGNALS) as signals:
            async with trio.open_nursery() as nursery:
                self.sidecar = Sidecar(
                    self._config,
                    nursery,
                    self._resolver,
                    tell=self._tell,
                    tell_fault=self._tell_fault,
                    inherited=inherited,
                    max_clients=clients_that_fit(),
                )
                self.sidecar.gateway.tell_turned_away = self._tell_turned_away
                self.sidecar.gateway.tell_full = self._tell_full
                self._observe_steps()
                admin = AdminServer(self, self._book, self._log)
                try:
                    self.sidecar.start()
                    admin.start(self._config.admin, nursery)
                except (BindError, TrustError) as exc:
                    raise CommandError(str(exc), ExitCode.CONFIGURATION) from None
                nursery.start_soon(self._heed, signals)
                nursery.start_soon(self._feed_watchdog)
                nursery.start_soon(watch_changes, self, self._book, self._log)
                self._say_ready()
                await self._ending.wait()
                await self._drain()
                nursery.cancel_scope.cancel()
        return 0

    def _say_ready(self) -> None:
        for door in self.sidecar.doors:
            self._log.info("listening", listener=door.settings.name, bind=door.address)
        self._notifier.ready(f"serving at {len(self.sidecar.doors)} listeners")
        self._log.info(
            "ready", version=__version__, pid=os.getpid(), targets=len(self._config.targets)
        )
        # What has been made so far stays: the collector need not look at it again. With ten
        # thousand tasks a full collection is a pause of 34 ms, and of none after this (measured).
        gc.collect()
        gc.freeze()
        # A request leaves no cycle behind (tests/loopback/test_garbage.py), but an error's traceback may:
        # after 2,400 uploads that broke off it was 84 MiB of memory with the start's threshold of
        # 100,000, and 38 with this one (measured).
        gc.set_threshold(5_000, 10, 10)

    # --- orders ------------------------------------------------------------------------------

    @property
    def is_ready(self) -> bool:
        """Whether every door is open."""
        return not self._ending.is_set()

    def drain(self, by_signal: str | None = None) -> OrderReport:
        """Begins to end; without a signal it was the admin endpoint that said so."""
        lines = ("it drains already",) if self._ending.is_set() else ("it drains",)
        if not self._ending.is_set():
            order = None if by_signal else "POST /drain"
            self._log.info("told to end", signal=by_signal, order=order)
        self._ending.set()
        report = OrderReport(is_done=True, lines=lines, generation=self.generation)
        self._book.tell_order("drain", report)
        return report

    def reload(self) -> OrderReport:
        """Reads the file again; on any error everything stays as it is."""
        self._notifier.reloading()
        try:
            report = self._reload()
        finally:
            self._notifier.ready()
        self._book.tell_order("reload", report)
        tell = self._log.info if report.is_done else self._log.error
        for line in report.lines:
            tell("reload" if report.is_done else "reload refused", what=line)
        return report

    def _reload(self) -> OrderReport:
        if self._ending.is_set():
            return self._refused(["it drains: it will not read its file again"])
        try:
            config = load(
                self.config_file, lambda what: self._log.warning("configuration", what=what)
            )
            self._check_admin(config)
            again = self.sidecar.apply(config)
        except (CommandError, BindError, TrustError) as exc:
            return self._refused(str(exc).splitlines())
        old, self._config = self._config, config
        self.generation += 1
        self._log.apply(config.log)
        self._observe_steps()
        if config.resolver != old.resolver:
            self._resolver.apply(config.resolver)
        return OrderReport(
            is_done=True, lines=tuple(changes(old, config, again)), generation=self.generation
        )

    def _check_admin(self, config: Config) -> None:
        """The one door that does not move: orders come through it."""
        if config.admin != self._config.admin:
            raise CommandError(
                "[admin] bind cannot change in a reload; restart the daemon for that"
            )

    def _refused(self, lines: Iterable[str]) -> OrderReport:
        return OrderReport(is_done=False, lines=tuple(lines), generation=self.generation)

    # --- tasks -------------------------------------------------------------------------------

    async def _heed(self, signals: AsyncIterator[int]) -> None:
        async for number in signals:
            if number == signal.SIGHUP:
                self.reload()
            elif self._ending.is_set():
                self._log.warning("told to end a second time: what is outstanding is cut")
                self.sidecar.cut()
            else:
                self.drain(signal.Signals(number).name)

    async def _drain(self) -> None:
        timeout = self._config.drain_timeout
        self._notifier.stopping(within=timeout + BEHIND_THE_DRAIN, status="draining")
        cut = await self.sidecar.drain()
        if cut:
            self._log.warning("cut what was outstanding", requests=cut, drain_timeout=timeout)
        self._log.info("ended")

    async def _feed_watchdog(self) -> None:
        interval = watchdog_interval()
        while interval is not None:
            self._notifier.watchdog()
            await trio.sleep(interval)

    # --- what is told ------------------------------------------------------------------------

    def _observe_steps(self) -> None:
        """Events are made for somebody who reads them only: they cost the hot path its speed."""
        is_wanted = self._log.is_on(Level.DEBUG)
        self.sidecar.gateway.observe = StepsLog(self._log) if is_wanted else None

    def _tell(self, record: ExchangeRecord) -> None:
        self._book.tell(record)
        if self._config.log.access:
            self._access(record)

    def _tell_turned_away(self, one: TurnedAway) -> None:
        self._turned_away(one, trio.current_time())

    def _tell_full(self, door: Door, why: str) -> None:
        self._full(door.settings.name, why, trio.current_time())

    def _tell_fault(self, exc: Exception) -> None:
        self._log.error(
            "a fault in haclient ended one connection; please report it",
            error=f"{type(exc).__name__}: {exc}",
            where=_where(exc),
        )


def _where(exc: BaseException) -> str:
    """File and line of the innermost frame: a log line is no place for a traceback."""
    traceback, where = exc.__traceback__, ""
    while traceback is not None:
        code = traceback.tb_frame.f_code
        where = f"{os.path.basename(code.co_filename)}:{traceback.tb_lineno} {code.co_name}"
        traceback = traceback.tb_next
    return where


def resolver_for(settings: ResolverSettings, log: Log) -> SystemResolver:
    """The machine's resolver, as the file wants it."""
    return SystemResolver(
        nameservers=settings.nameservers or None,
        min_ttl=settings.min_ttl,
        max_ttl=settings.max_ttl,
        stale_for=settings.stale_for,
        state_file=settings.state_file,
        tell=name_log(log),
    )
