"""What a reload changed, a line each, for a person."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from haclient.core.config import Config, Mode

__all__ = ["changes"]


DAEMON_KEYS = ("drain_timeout", "replay_memory")


def changes(old: Config, new: Config, again: Iterable[str] = ()) -> Iterator[str]:
    """Yields a line for each listener, target and setting that differs; one if nothing does.

    `again` are lines for files that both name, and that hold something new.
    """
    lines = [
        *_compare("target", dict(old.targets), dict(new.targets)),
        *_compare("listener", _by_name(old), _by_name(new)),
        *(_differences("defaults", old.defaults, new.defaults) if _has_forward(new) else ()),
        *_differences("resolver", old.resolver, new.resolver),
        *_differences("log", old.log, new.log),
        *(f"daemon: {key}" for key in DAEMON_KEYS if getattr(old, key) != getattr(new, key)),
        *again,
    ]
    yield from lines or ["nothing changed"]


def _has_forward(config: Config) -> bool:
    """Whether [defaults] are for more than targets, which tell of it themselves."""
    return any(one.mode is Mode.FORWARD for one in config.listeners)


def _by_name(config: Config) -> dict[str, object]:
    return {one.name: one for one in config.listeners}


def _compare(kind: str, old: dict[str, object], new: dict[str, object]) -> Iterator[str]:
    for name in old | new:  # in the order of the files: a set has another one in each process
        if name not in old:
            yield f"{kind} {name}: added"
        elif name not in new:
            yield f"{kind} {name}: removed"
        else:
            yield from _differences(f"{kind} {name}", old[name], new[name])


def _differences(what: str, old: object, new: object) -> Iterator[str]:
    """The keys that differ; their values may be secrets."""
    assert isinstance(old, msgspec.Struct)
    keys = [key for key in old.__struct_fields__ if getattr(old, key) != getattr(new, key)]
    if keys:
        yield f"{what}: {', '.join(keys)}"
