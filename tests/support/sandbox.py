"""What a unit file takes away, taken from a process of ours, without systemd as the first process.

    python -m tests.support.sandbox UNIT COMMAND...

The command runs with the unit's SystemCallFilter and RestrictAddressFamilies as a seccomp(2) filter, and with
MemoryDenyWriteExecute. A call that the unit would answer with EPERM ends the process here (SIGSYS): a
daemon that lives on EPERMs has lost something that nobody noticed. What the groups of system
calls hold, systemd itself is asked; the filter is made by libseccomp, as systemd makes it.

Left out: mount namespaces (ProtectSystem and the like), users, devices.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path

__all__ = ["directives", "why_no_sandbox"]

ALLOW, KILL_PROCESS = 0x7FFF0000, 0x80000000  # seccomp.h
EQUAL = 4  # enum scmp_compare
PR_SET_NO_NEW_PRIVS, PR_SET_MDWE = 38, 65  # prctl.h
MDWE_REFUSE_EXEC_GAIN = 1


class Comparison(ctypes.Structure):
    """struct scmp_arg_cmp."""

    _fields_ = [  # type: ignore[mutable-override]  # ctypes has it so
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    ]


@lru_cache
def why_no_sandbox() -> str:
    """Why the sandbox cannot be had here; empty where it can."""
    if shutil.which("systemd-analyze") is None:
        return "systemd-analyze is not installed"
    if ctypes.util.find_library("seccomp") is None:
        return "libseccomp is not installed"
    return ""


def directives(unit: Path, name: str) -> list[str]:
    """The values of a setting, one for each time that it is given."""
    lines = unit.read_text(encoding="utf-8").splitlines()
    return [line.partition("=")[2] for line in lines if line.partition("=")[0] == name]


def allowed_calls(unit: Path) -> set[str]:
    """Names of system calls: the first list allows, those with "~" take away."""
    calls: set[str] = set()
    for value in directives(unit, "SystemCallFilter"):
        named = {call for word in value.removeprefix("~").split() for call in expanded(word)}
        calls = calls - named if value.startswith("~") else calls | named
    return calls


@lru_cache
def expanded(word: str) -> frozenset[str]:
    """A group's calls, those of the groups in it included."""
    if not word.startswith("@"):
        return frozenset({word})
    told = subprocess.run(
        ["systemd-analyze", "syscall-filter", "--no-pager", word],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    members = [line.strip() for line in told.splitlines()[1:] if not line.strip().startswith("#")]
    return frozenset(call for member in members if member for call in expanded(member))


def confine(unit: Path) -> None:
    """Takes from this process, for good, what the unit takes from the daemon."""
    library = ctypes.CDLL(ctypes.util.find_library("seccomp"), use_errno=True)
    library.seccomp_init.restype = ctypes.c_void_p
    libc = ctypes.CDLL(None, use_errno=True)
    rules = ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(KILL_PROCESS)))
    for call, conditions in rules_of(unit):
        number = library.seccomp_syscall_resolve_name(call.encode())
        if number < 0:  # of another architecture
            continue
        array = (Comparison * len(conditions))(*conditions)
        failed = library.seccomp_rule_add_array(
            rules, ctypes.c_uint32(ALLOW), number, len(conditions), array
        )
        assert failed == 0, f"{call}: {failed}"
    if directives(unit, "MemoryDenyWriteExecute") == ["yes"]:
        # Not before Linux 6.3.
        libc.prctl(PR_SET_MDWE, MDWE_REFUSE_EXEC_GAIN, 0, 0, 0)
    assert libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
    assert library.seccomp_load(rules) == 0


def rules_of(unit: Path) -> Iterator[tuple[str, list[Comparison]]]:
    """Each call that is allowed, and on what condition."""
    for call in allowed_calls(unit) - {"socket"}:
        yield call, []
    for families in directives(unit, "RestrictAddressFamilies"):
        for family in families.split():
            yield "socket", [Comparison(0, EQUAL, getattr(socket, family), 0)]


def main(words: Sequence[str]) -> None:
    confine(Path(words[0]))
    os.execv(words[1], list(words[1:]))


if __name__ == "__main__":
    main(sys.argv[1:])
