"""Interrupts while modules are imported: no traceback, and none is lost."""

from __future__ import annotations

import subprocess
import sys

LOSES_IT = """
import signal, weakref
class Lock: pass
def interrupt(_): signal.raise_signal(signal.SIGINT)
lock = Lock()
watched = weakref.ref(lock, interrupt)
{begin}
    del lock
print("went on", flush=True)
"""


def run(begin: str) -> subprocess.CompletedProcess[bytes]:
    source = "from haclient.ops.importing import ends_at_once" + LOSES_IT.format(begin=begin)
    return subprocess.run([sys.executable, "-c", source], capture_output=True, timeout=30)


def test_python_loses_an_interrupt_in_a_callback_of_an_import() -> None:
    """What this is there for; once it fails the module may go."""
    done = run("if True:")
    assert b"Exception ignored in" in done.stderr
    assert done.stdout == b"went on\n"


def test_it_ends_the_process_there_and_then() -> None:
    done = run("with ends_at_once():")
    assert (done.returncode, done.stdout, done.stderr) == (130, b"", b"")


def test_behind_it_an_interrupt_is_an_exception_again() -> None:
    source = """
import signal
from haclient.ops.importing import ends_at_once
with ends_at_once():
    pass
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("raised", flush=True)
"""
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, timeout=30)
    assert (done.returncode, done.stdout) == (0, b"raised\n")


def test_who_ignores_interrupts_goes_on_doing_so() -> None:
    done = run("signal.signal(signal.SIGINT, signal.SIG_IGN)\nwith ends_at_once():")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"went on\n", b"")
