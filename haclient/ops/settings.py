"""One target's settings out of the daemon's file, for `--target NAME`, and whom names are asked of there.

Of the file, only `[target.NAME]`, `[defaults]` and `[resolver]` are looked at, by the same tables of keys and with
the same errors as the daemon's whole reading (haclient.ops.config_file): a mistake in another table is
none of a request's business, nor is a key that means something to the daemon alone.
"""

from __future__ import annotations

from haclient.core.config_check import KeyPath
from haclient.core.spec import Target
from haclient.ops.command_line import CommandError
from haclient.ops.config_error import ConfigError, nearest
from haclient.ops.config_file import parse, read_bytes
from haclient.ops.config_keys import RESOLVER, TARGET
from haclient.ops.config_read import Missing, Source
from haclient.ops.exit_codes import ExitCode

__all__ = ["DAEMON_ONLY", "read_nameservers", "read_target"]

DAEMON_ONLY = frozenset(name for name, key in TARGET.items() if key.is_daemon_only)
"""Keys of a target that mean something to the daemon and nothing to one request."""


def read_target(path: str, name: str) -> Target:
    """Returns the target `name` of the file at `path`.

    Raises:
        CommandError: exit 78; all errors of the target, one a line.
    """
    source = _source(path)
    target = _target(source, name)
    if isinstance(target, Missing):
        raise _refusal(source)
    return target


def read_nameservers(path: str) -> tuple[str, ...] | None:
    """Returns the name servers of the file at `path`; None: the system's.

    Not its `state_file`: that is the daemon's own, and one request has no outage to outlive.

    Raises:
        CommandError: exit 78; all errors of `[resolver]`, one a line.
    """
    source = _source(path)
    values = source.values(("resolver",), RESOLVER, may_lack=True)
    if source.errors:
        raise _refusal(source)
    return tuple(values.get("nameservers", ())) or None


def _source(path: str) -> Source:
    data = read_bytes(path)
    source = data if isinstance(data, ConfigError) else parse(path, data)
    if isinstance(source, ConfigError):
        raise CommandError(str(source), ExitCode.CONFIGURATION)
    return source


def _refusal(source: Source) -> CommandError:
    return CommandError("\n".join(map(str, source.errors)), ExitCode.CONFIGURATION)


def _target(source: Source, name: str) -> Target | Missing:
    here: KeyPath = ("target", name)
    targets = source.table(("target",))
    if name not in targets and not source.errors:
        wanted = f"there is no such table; it has {', '.join(targets) or 'none'}"
        if listener := _listener(source, name):
            source.error(here, f"{wanted}; {listener}")
        else:
            source.error(here, wanted, nearest(name, targets))
    defaults = source.values(("defaults",), TARGET, ignored=DAEMON_ONLY, may_lack=True)
    values = defaults | source.values(here, TARGET, ignored=DAEMON_ONLY, may_lack=True)
    if "urls" not in values and not source.errors:
        values |= source.lacking(here, TARGET, ())
    return Missing.MISSING if source.errors else source.build(here, Target, values)


def _listener(source: Source, name: str) -> str:
    """What to name instead, where the name is a listener's; empty where it is none."""
    listeners = source.tables.get("listener")
    found = listeners.get(name) if isinstance(listeners, dict) else None
    if not isinstance(found, dict):
        return ""
    if found.get("mode") == "forward":
        what = "a forward proxy, whose clients name the destinations: give a URL instead of a name"
    elif isinstance(target := found.get("target"), str):
        what = f"a listener: name its target, {target}"
    else:
        what = "a listener: name one of its targets"
    return f"[listener.{name}] is {what}"
