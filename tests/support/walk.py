"""A reader who does what a page of docs/ says, step by step, in a folder of his own.

    Walk(tmp_path, "datasnap.md").go()

What the page says in its blocks is done with the real commands and must print what the page shows; see
tests.support.page_blocks for how a page says it. Ports are replaced by free ones, in commands, files and outputs alike,
for several pages are walked at a time and nobody knows who else listens here. Whatever was started is ended.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.command import environment
from tests.support.page_blocks import Step, matches, pattern, ports, steps
from tests.support.sidecar import free_port

__all__ = ["DOCS", "PATH", "Walk"]

PATH = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin"
"""This very tree's haclient and Python come first; Debian's dnsmasq is in /usr/sbin."""

DOCS = Path(__file__).parents[2] / "docs"

PATIENCE = 20.0
"""Seconds for what takes one at the most, on a machine that does much else."""

ENDS_WITHIN = 60.0
"""Seconds: nothing on a page takes a minute."""

BUSY = 1.5
"""Seconds that such a machine may add to what a step may take."""

AGAIN_EVERY = 0.1

WHOEVER = "whoever"
"""The name of the terminal that says that it has the request."""


class Terminal:
    """A program that is started by a line of shell, and all that it has printed so far."""

    def __init__(self, command: str, folder: Path) -> None:
        self.command = command
        self.shown = 0
        """How much of what it printed the page has shown already."""
        self._pieces: list[str] = []
        self._process = subprocess.Popen(
            ["bash", "-c", command],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=environment(
                PATH=PATH,
                PYTHONUNBUFFERED="1",
            ),
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                self._pieces.append(line.decode().replace("\r", ""))

    @property
    def printed(self) -> str:
        """On both of its outputs."""
        return "".join(self._pieces)

    def wait_until(self, what: Callable[[], object], why: str) -> None:
        """Waits for it, or for its end: a program that has ended says nothing more."""
        deadline = time.perf_counter() + PATIENCE
        while not what():
            is_over = self._process.poll() is not None and not self._reader.is_alive()
            if is_over and what():
                return
            assert not is_over, f"{why}, and has ended:\n{self.printed}"
            assert time.perf_counter() < deadline, f"{why}:\n{self.printed}"
            time.sleep(0.01)  # noqa: TID251  (another process is waited for)

    def type(self, text: str) -> None:
        """Line by line, each carried out before the next."""
        assert self._process.stdin is not None
        for line in text.splitlines(keepends=True):
            done = self.printed.count("done\n")
            self._process.stdin.write(line.encode())
            self._process.stdin.flush()
            self.wait_until(lambda done=done: self.printed.count("done\n") > done, line)  # type: ignore[misc]

    @property
    def has_succeeded(self) -> bool:
        """At its end: whether it says so."""
        return self._process.returncode == 0

    def finish(self) -> str:
        """Waits for its end; returns what it printed."""
        self._close_input()
        self._process.wait(ENDS_WITHIN)
        self._reader.join(PATIENCE)
        return self.printed

    def end(self) -> None:
        """Ctrl-C, and the end of its input; if need be, kill -9."""
        self._close_input()
        try:
            self._interrupt()
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._process.wait()
            raise
        self._reader.join(PATIENCE)

    def _interrupt(self) -> None:
        """As often as a person would: bash ignores one that comes as its child ends by itself.

        It takes the child for one that handles interrupts, and goes on with its loop.
        """
        deadline = time.perf_counter() + PATIENCE
        while True:
            self._signal(signal.SIGINT)
            try:
                self._process.wait(PATIENCE / 4)
            except subprocess.TimeoutExpired:
                if time.perf_counter() >= deadline:
                    raise
            else:
                return

    def _close_input(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


class Walk:
    """One page from its first block to its last."""

    def __init__(self, folder: Path, name: str) -> None:
        page = (DOCS / name).read_text(encoding="utf-8")
        for port in ports(page):
            page = re.sub(rf"\b{port}\b", str(free_port()), page)
        self.folder = folder
        self.steps = steps(page)
        self._started = contextlib.ExitStack()
        self._terminals: dict[str, Terminal] = {}
        self._waiting: Terminal | None = None
        self._heard: dict[str, int] = {}
        self._says: dict[str, str] = {}
        self._last_repeated = Step(0, "", "")

    def go(self) -> None:
        """Does all of it.

        Raises:
            AssertionError: something was not as the page says.
        """
        with self._started:
            for step in self.steps:
                began_at = time.perf_counter()
                self._take(step)
                took = time.perf_counter() - began_at
                if step.seconds:
                    least, most = step.seconds
                    assert least <= took <= most + BUSY, f"{step}: took {took:.2f} s"

    def _take(self, step: Step) -> None:
        match step.language, step.words:
            case _, {"by": _}:
                pass
            case _, {"type": words}:
                name, _, text = words.partition(" ")
                self._reached(name).type(f"{text}\n")
            case _, {"repeat": _}:
                self._repeat(self._last_repeated)
            case _, {"file": name}:
                (self.folder / name).write_text(step.text, encoding="utf-8")
            case "sh", {"terminal": name}:
                self._start(name, step.text, step.words["says"])
            case _, {"terminal": name}:
                self._reached(name).type(step.text)
            case _, {"ctrl-c": name}:
                self._reached(name).end()
            case _, {"again": name}:
                self._start(name, self._terminals[name].command, "")
            case _, {"shows": name}:
                self._look(step, self._terminals[name])
            case "sh", {"waits": _}:
                self._heard = {name: len(each.printed) for name, each in self._terminals.items()}
                self._waiting = self._terminal(step.text)
            case "sh", {"eventually": _}:
                self._last_repeated = step
                self._repeat(step)
            case "sh", _:
                ran = self._terminal(step.text)
                self._compare(step, step.printed, ran.finish())
                assert step.printed is not None or ran.has_succeeded, f"{step}: {ran.printed}"
            case _:
                assert self._waiting is not None, f"{step}: no command waits for this"
                waiting, self._waiting = self._waiting, None
                self._compare(step, step.text, waiting.finish())

    def _start(self, name: str, command: str, says: str) -> None:
        says = says or self._says[name]
        self._says[name] = says
        started = self._terminals[name] = self._terminal(command)
        started.wait_until(lambda: says in started.printed, f"{name} does not say {says!r}")

    def _reached(self, name: str) -> Terminal:
        """Where a command waits, its request has to be with a server before that is struck."""
        if self._waiting is None:
            return self._terminals[name]
        names = list(self._heard) if name == WHOEVER else [name]
        found: list[Terminal] = []

        def is_there() -> bool:
            found[:] = [self._terminals[each] for each in names if "ran " in self._new(each)]
            return bool(found)

        self._terminals[names[0]].wait_until(is_there, "nothing reached it")
        return found[0]

    def _new(self, name: str) -> str:
        """What has been printed there since the command that waits was started."""
        return self._terminals[name].printed[self._heard[name] :]

    def _look(self, step: Step, terminal: Terminal) -> None:
        wanted = re.compile(pattern(step.text))
        at = terminal.shown
        terminal.wait_until(
            lambda: wanted.search(terminal.printed, at), f"{step}: it does not show this"
        )
        terminal.shown = len(terminal.printed)

    def _repeat(self, step: Step) -> None:
        assert step.printed is not None, f"{step}: until what?"
        deadline = time.perf_counter() + PATIENCE
        while True:
            printed = self._terminal(step.text).finish()
            if matches(step.printed, printed):
                return
            assert time.perf_counter() < deadline, f"{step}: still prints\n{printed}"
            time.sleep(AGAIN_EVERY)  # noqa: TID251  (other processes are waited for)

    def _compare(self, step: Step, expected: str | None, printed: str) -> None:
        if expected is not None:
            assert matches(expected, printed), f"{step}: printed\n{printed}\nand not\n{expected}"

    def _terminal(self, command: str) -> Terminal:
        started = Terminal(command, self.folder)
        self._started.callback(started.end)
        return started
