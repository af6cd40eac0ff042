"""One target's settings out of the daemon's file, for `--target NAME`.

The file is TOML: `[target.NAME]` and, for any key of a target, `[defaults]`. Every error is one
line with file, table, key, what was found and what would do; exit 78 (EX_CONFIG of sysexits). Only
the tables of targets are read here; `haclient check` comes with the daemon.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Callable, Mapping

from haclient.core.spec import IdempotencyKey, Target, TlsSettings
from haclient.errors import UrlError
from haclient.ops.command_line import CommandError, parse_duration
from haclient.ops.exit_codes import ExitCode
from haclient.types import Order

__all__ = ["parse_size", "read_target"]

_SIZE = re.compile(r"([0-9]{1,12})(KiB|MiB|GiB)?")
_UNITS = {None: 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def parse_size(value: object) -> int:
    """Returns bytes for "64KiB", "1MiB" or a number of bytes.

    Raises:
        ValueError: it is neither.
    """
    match = _SIZE.fullmatch(str(value)) if isinstance(value, str | int) else None
    if match is None or isinstance(value, bool):
        raise ValueError('a size is "64KiB", "1MiB" or a number of bytes')
    return int(match[1]) * _UNITS[match[2]]


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise ValueError('a duration is "250ms", "4s", "2m" or a number of seconds')
    return parse_duration(str(value))


def _count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError("a whole number is wanted")
    return value


def _ratio(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("a number is wanted, as 0.2")
    return float(value)


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ValueError('a list of texts is wanted, as ["http://a.internal"]')
    return tuple(value)


def _statuses(value: object) -> frozenset[int]:
    if not isinstance(value, list) or not all(
        type(one) is int and 300 <= one <= 599 for one in value
    ):
        raise ValueError("a list of status codes from 300 to 599 is wanted, as [502, 503]")
    return frozenset(value)


def _one_of(kind: type[Order | IdempotencyKey]) -> Callable[[object], object]:
    words = ", ".join(f'"{member.value}"' for member in kind)

    def read(value: object) -> object:
        try:
            return kind(value)
        except ValueError:
            raise ValueError(f"one of {words} is wanted") from None

    return read


def _tls(value: object) -> TlsSettings:
    known = {"ca_file", "cert_file", "key_file", "server_name", "verify", "min_version"}
    if not isinstance(value, dict) or not value.keys() <= known:
        raise ValueError(f"a table with {', '.join(sorted(known))} is wanted")
    if not isinstance(value.get("verify", True), bool):
        raise ValueError("verify is true or false")
    if value.get("min_version", "1.2") not in ("1.2", "1.3"):
        raise ValueError('min_version is "1.2" or "1.3"')
    for key in known - {"verify"}:
        if not isinstance(value.get(key, ""), str):
            raise ValueError(f"{key} is a text")
    return TlsSettings(**value)


KEYS: Mapping[str, tuple[str, Callable[[object], object]]] = {
    "urls": ("urls", _texts),
    "backups": ("backups", _texts),
    "order": ("order", _one_of(Order)),
    "failover_window": ("window", _seconds),
    "response_timeout": ("response_timeout", _seconds),
    "connect_timeout": ("connect_timeout", _seconds),
    "connection_attempt_delay": ("connection_attempt_delay", _seconds),
    "race_width": ("race_width", _count),
    "max_attempts": ("max_attempts", _count),
    "failover_statuses": ("failover_statuses", _statuses),
    "retry_budget": ("retry_budget", _ratio),
    "replay_limit": ("replay_limit", parse_size),
    "idempotency_key": ("idempotency_key", _one_of(IdempotencyKey)),
    "max_connections": ("max_connections", _count),
    "pool_idle_timeout": ("pool_idle_timeout", _seconds),
    "tls": ("tls", _tls),
}
"""Key of the file: attribute of Target, and how its value is read."""

DAEMON_ONLY = frozenset({"resume", "affinity", "host_header", "standby", "health"})
"""Keys of a target that mean something to the daemon and nothing to one request."""


def read_target(path: str, name: str) -> Target:
    """Returns the target `name` of the file at `path`.

    Raises:
        CommandError: exit 78; all errors of the target, one a line.
    """
    try:
        with open(path, "rb") as file:
            tables = tomllib.load(file)
    except OSError as exc:
        raise _bad(f"{path} cannot be read: {exc.strerror}; name the file with --config") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise _bad(
            f"{path} is not TOML: {exc}; mend it there, or name another file with --config"
        ) from None
    targets = _table(path, "target", tables.get("target", {}))
    if name not in targets:
        near = difflib.get_close_matches(name, targets, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(targets) or 'none'}"
        raise _bad(f"{path} has no [target.{name}]; {hint}")
    errors: list[str] = []
    values: dict[str, object] = {}
    for table, given in (
        ("defaults", tables.get("defaults", {})),
        (f"target.{name}", targets[name]),
    ):
        values |= _read_table(path, table, _table(path, table, given), errors)
    if "urls" not in values and not errors:
        errors.append(f'{path}: [target.{name}]: urls is missing; write urls = ["http://…"]')
    if not errors:
        try:
            return Target(**values)  # type: ignore[arg-type]
        except (ValueError, UrlError) as exc:
            errors.append(f"{path}: [target.{name}]: {exc}")
    raise _bad("\n".join(errors))


def _table(path: str, name: str, value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise _bad(f"{path}: {name} = {value!r}: a table is wanted, as [{name}]")
    return value


def _read_table(
    path: str, table: str, given: Mapping[str, object], errors: list[str]
) -> dict[str, object]:
    values: dict[str, object] = {}
    for key, value in given.items():
        if key in DAEMON_ONLY:
            continue
        where = f"{path}: [{table}] {key} = {value!r}"
        if key not in KEYS:
            near = difflib.get_close_matches(key, [*KEYS, *DAEMON_ONLY], n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            errors.append(f"{where}: unknown key{hint}")
            continue
        attribute, read = KEYS[key]
        try:
            values[attribute] = read(value)
        except ValueError as exc:
            errors.append(f"{where}: {exc}")
    return values


def _bad(message: str) -> CommandError:
    return CommandError(message, ExitCode.CONFIGURATION)
