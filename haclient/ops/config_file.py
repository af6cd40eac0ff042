"""The configuration file, as the daemon's Config.

    config = load("/etc/haclient/haclient.toml")

Three steps, each with all its errors at once: the bytes are TOML; each value is what its key may be
(haclient.ops.config_read, with the tables of config_keys); the values go together
(haclient.core.config_check, and the files of TLS). A file with an error gives no Config at all, so that
a reload can keep the old one.

Not looked at: whether a name can be resolved, or a server answers. The daemon is for the day when they
do not.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import msgspec

from haclient.core.allow import AllowList
from haclient.core.config import (
    AdminSettings,
    AuthSettings,
    Config,
    DoorTls,
    ListenerSettings,
    LogSettings,
    Mode,
    ResolverSettings,
)
from haclient.core.config_check import (
    Door,
    KeyPath,
    door_faults,
    loop_faults,
    protocol_faults,
    unused,
    window_plan,
)
from haclient.core.keepalive import Refusal, WatchPhase
from haclient.core.openness import asks_in_tls
from haclient.core.spec import Target, TlsSettings
from haclient.core.url import Url
from haclient.ops.command_line import CommandError
from haclient.ops.config_error import ConfigError, nearest
from haclient.ops.config_guards import guard_faults
from haclient.ops.config_keys import ADMIN, DAEMON, LISTENER, LOG, RESOLVER, TARGET, Key, Keys
from haclient.ops.config_read import MISSING, Missing, Source, is_whole
from haclient.ops.config_tcp import (
    HTTP_LISTENER_KEYS,
    HTTP_TARGET_KEYS,
    refuse_http_keys,
)
from haclient.ops.config_tls import age_warning, file_faults, key_warning
from haclient.ops.exit_codes import ExitCode
from haclient.regular_file import read_regular

__all__ = ["Checked", "check_bytes", "check_file", "load", "parse", "read_bytes"]

Made = TypeVar("Made")

MAX_BYTES = 4 << 20
"""Of a file; a thousand targets take 300 KiB."""

TABLES = ("defaults", "target", "listener", "resolver", "admin", "log", "daemon")

KEYS_OF: dict[str, Keys] = {
    "[target.NAME]": TARGET,
    "[listener.NAME]": LISTENER,
    "[resolver]": RESOLVER,
    "[admin]": ADMIN,
    "[log]": LOG,
    "[daemon]": DAEMON,
}

_AT = re.compile(r" \(at (?:line ([0-9]+), column [0-9]+|end of document)\)$")

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
"""Names go into log lines, URLs of the admin endpoint and labels of metrics."""


class Checked(msgspec.Struct, frozen=True):
    """All that a file says, and all that is wrong with it.

    Attributes:
        config: None if there is any error.
        targets: those that could be read.
    """

    config: Config | None
    targets: dict[str, Target]
    errors: tuple[ConfigError, ...]
    warnings: tuple[ConfigError, ...]


def load(path: str, warn: Callable[[str], None] | None = None) -> Config:
    """Reads the file at `path`; `warn` is told what is no mistake, and probably not meant.

    Raises:
        CommandError: exit code 78; every error, one a line.
    """
    checked = check_file(path)
    if checked.config is None:
        raise CommandError("\n".join(map(str, checked.errors)), ExitCode.CONFIGURATION)
    if warn is not None:
        for warning in checked.warnings:
            warn(str(warning))
    return checked.config


def check_file(path: str) -> Checked:
    """Reads the daemon's file at `path`, and says all that is wrong with it."""
    data = read_bytes(path)
    if isinstance(data, ConfigError):
        return Checked(None, {}, (data,), ())
    return check_bytes(path, data, needs_door=True)


def check_bytes(path: str, data: bytes, *, needs_door: bool = False) -> Checked:
    """Reads what a file holds, and says all that is wrong with it.

    Args:
        path: for the errors, and for what is relative in the file.
        data: what the file holds.
        needs_door: whether it is wrong without a listener, as it is for the daemon.
    """
    source = parse(path, data)
    if isinstance(source, ConfigError):
        return Checked(None, {}, (source,), ())
    if needs_door and "listener" not in source.tables:
        source.errors.append(_without_door(path))
    return _check(source)


def _without_door(path: str) -> ConfigError:
    what = "there is no [listener.NAME], so the daemon has no door to open"
    remedy = "write one, with bind and target ('haclient request --target' needs none)"
    return ConfigError(path, 0, "", "", "", f"{what}; {remedy}")


# --- bytes ----------------------------------------------------------------------------------------


def read_bytes(path: str) -> bytes | ConfigError:
    """What the file at `path` holds."""
    try:
        data = read_regular(path, MAX_BYTES + 1)
    except (OSError, ValueError) as exc:
        why = exc.strerror if isinstance(exc, OSError) and exc.strerror else str(exc)
        return _unusable(path, f"it cannot be read: {why}")
    if len(data) > MAX_BYTES:
        return _unusable(path, f"it has more than {MAX_BYTES >> 20} MiB")
    return data


def _unusable(path: str, why: str) -> ConfigError:
    return ConfigError(path, 0, "", "", "", f"{why}; name the configuration file with --config")


def parse(path: str, data: bytes) -> Source | ConfigError:
    """The tables of a TOML file."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = data.count(b"\n", 0, exc.start) + 1
        found = f"the byte 0x{data[exc.start]:02x}"
        return _no_toml(path, line, f"{found} is no UTF-8; save it as UTF-8")
    try:
        return Source(path, text, tomllib.loads(text))
    except tomllib.TOMLDecodeError as exc:
        what, line = str(exc), text.count("\n") + 1
        if (at := _AT.search(what)) is not None:
            what, line = what[: at.start()], int(at[1] or line)
        return _no_toml(path, line, f"{what[:1].lower()}{what[1:]}; mend it there")
    except (ValueError, RecursionError) as exc:
        # A number of thousands of digits, brackets within brackets within brackets.
        return _no_toml(path, 0, f"{exc}; nothing in a configuration is that large or that deep")


def _no_toml(path: str, line: int, what: str) -> ConfigError:
    return ConfigError(path, line, "", "", "", f"this is not TOML: {what}")


# --- values ---------------------------------------------------------------------------------------


def _check(source: Source) -> Checked:
    for name, value in source.tables.items():
        if name not in TABLES:
            _unknown(source, name, value)
    defaults, targets = _targets(source)
    doors, listeners = _listeners(source)
    admin = _single(source, "admin", ADMIN, AdminSettings) if "admin" in source.tables else None
    rest = {
        "resolver": _single(source, "resolver", RESOLVER, ResolverSettings),
        "log": _single(source, "log", LOG, LogSettings),
        **source.values(("daemon",), DAEMON),
    }
    names = source.names(("target",))
    private = admin.bind if admin is not None else None
    for fault in (
        *door_faults(doors, private, names),
        *protocol_faults(doors, targets),
        *loop_faults(doors, private, targets),
    ):
        source.fault(fault)
    some = [name for name in names if source.names(("target", name))] if doors else []
    for name in unused(doors, some):
        source.warn(("target", name), "no listener leads to it; name it in one, or remove it")
    config = None
    if not source.errors:
        config = Config(
            targets=targets, defaults=defaults, listeners=listeners, admin=admin, **rest
        )
    errors = sorted(source.errors, key=lambda error: error.line)
    return Checked(config, targets, tuple(errors), tuple(source.warnings))


def _unknown(source: Source, name: str, value: object) -> None:
    if isinstance(value, dict):
        source.error((name,), "unknown table", nearest(name, TABLES))
        return
    homes = [table for table, keys in KEYS_OF.items() if name in keys]
    inside = f"; it goes into {' or '.join(homes)}" if homes else ""
    source.error((name,), f"a key stands in a table{inside}")


def _single(
    source: Source, name: str, keys: Mapping[str, Key], build: Callable[..., Made]
) -> Made | None:
    """A table that is there once; None if it could not be read."""
    made = source.build((name,), build, source.values((name,), keys))
    return None if isinstance(made, Missing) else made


def _targets(source: Source) -> tuple[Target, dict[str, Target]]:
    """What goes for all of them, and each."""
    defaults = _target_values(source, ("defaults",))
    targets: dict[str, Target] = {}
    for name in source.table(("target",)):
        path = ("target", name)
        _check_name(source, path)
        values = defaults | _target_values(source, path)
        if "urls" not in values:
            values |= source.lacking(path, TARGET, ())
        if _has_tcp(values.get("urls")):
            refuse_http_keys(source, path, HTTP_TARGET_KEYS)
        target = source.build(path, Target, values)
        if not isinstance(target, Missing):
            _check_times(source, name, target)
            targets[name] = target
    return _of_no_name(source, defaults), targets


def _has_tcp(urls: object) -> bool:
    """Whether one of them is tcp://, whatever else is wrong with them."""
    each = urls if isinstance(urls, tuple) else ()
    return any(isinstance(url, Url) and url.origin.is_tcp for url in each)


def _of_no_name(source: Source, defaults: Mapping[str, Any]) -> Target:
    """What goes for the destinations of forward proxies."""
    nobody = Config(targets={}).defaults
    target = source.build(("defaults",), Target, {**defaults, "urls": nobody.urls, "backups": ()})
    if isinstance(target, Missing):
        return nobody
    if any(each.get("mode") == Mode.FORWARD.value for each in _tables(source, "listener")):
        _check_times(source, "", target)
    return target


def _tables(source: Source, kind: str) -> Iterator[dict[str, Any]]:
    for name in source.names((kind,)):
        if isinstance(table := source.tables[kind][name], dict):
            yield table


def _target_values(source: Source, path: KeyPath) -> dict[str, Any]:
    """Of [defaults] or of a target: what it says itself."""
    values = source.values(path, TARGET, may_lack=True)
    tls = values.get("tls")
    if isinstance(tls, TlsSettings):
        for key, what in file_faults(tls):
            source.error((*path, "tls", key), what)
        _warn_of_files(source, path, tls)
        if not tls.verify:
            what = "any certificate will do, so whoever is on the way can be the server"
            source.warn((*path, "tls", "verify"), f"{what}; name its authority in ca_file")
    return values


def _warn_of_files(source: Source, path: KeyPath, tls: TlsSettings | DoorTls) -> None:
    if what := age_warning(tls.cert_file):
        source.warn((*path, "tls", "cert_file"), what)
    if what := key_warning(tls.key_file or tls.cert_file):
        source.warn((*path, "tls", "key_file" if tls.key_file else "cert_file"), what)


def _check_name(source: Source, path: tuple[str, ...]) -> None:
    if not _NAME.fullmatch(path[-1]):
        source.error(path, 'a name has up to 64 letters, digits, ".", "_" and "-"; rename it')


def _check_times(source: Source, name: str, target: Target) -> None:
    plan = window_plan(target)
    if isinstance(plan, Refusal):
        where = _where_set(source, name, ("failover_window", "connect_timeout"))
        source.error(where, plan.explain()[0])
    elif not target.is_tcp and target.response_timeout < plan.bounds[WatchPhase.SILENT].dead:
        dead = plan.bounds[WatchPhase.SILENT].dead
        what = f"shorter than the {dead:.3g} s until a silent server is known to be dead"
        source.warn(
            _where_set(source, name, ("response_timeout",)),
            f"{what}, so living ones are given up with it; make it longer",
        )


def _where_set(source: Source, name: str, keys: tuple[str, ...]) -> KeyPath:
    """Where the first of `keys` that is set for the target stands."""
    for key in keys:
        for table in (("target", name), ("defaults",)):
            if key in source.names(table):
                return (*table, key)
    return ("target", name)


def _listeners(source: Source) -> tuple[list[Door], tuple[ListenerSettings, ...]]:
    """What is known of each, and those that could be read."""
    doors: list[Door] = []
    listeners: list[ListenerSettings] = []
    for name in source.table(("listener",)):
        path = ("listener", name)
        _check_name(source, path)
        values = source.values(path, LISTENER)
        doors.append(_door(name, values))
        listener = source.build(path, ListenerSettings, {"name": name, **values})
        if not isinstance(listener, Missing):
            listeners.append(listener)
            for keys, what in guard_faults(listener):
                source.error((*path, *keys), what)
            if listener.tls is not None:
                _warn_of_files(source, path, listener.tls)
            if listener.mode is Mode.TCP:
                refuse_http_keys(source, path, HTTP_LISTENER_KEYS)
    return doors, tuple(listeners)


def _door(name: str, values: Mapping[str, Any]) -> Door:
    """With holes where something could not be read."""
    bind, target, routes = (values.get(key) for key in ("bind", "target", "routes"))
    return Door(
        name=name,
        bind=None if bind is MISSING else bind,
        target="" if target is MISSING else target,
        allow=None if not is_whole(allow := values.get("allow", AllowList())) else allow,
        routes=(None,)
        if routes is MISSING
        else tuple(None if route is MISSING else route for route in routes or ()),
        public=values.get("public", False) is not False,
        mode=None if (mode := values.get("mode", Mode.REVERSE)) is MISSING else mode,
        asks=_asks(values.get("tls"), values.get("auth")),
        given=frozenset(key for key, value in values.items() if is_whole(value)),
    )


def _asks(tls: DoorTls | Missing | None, auth: AuthSettings | Missing | None) -> bool:
    """Whether others on the network may come; what could not be read is told by itself."""
    if tls is MISSING or auth is MISSING:
        return True
    return asks_in_tls(tls, auth)
