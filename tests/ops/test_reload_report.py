"""What a reload changed, in the order of the files."""

from __future__ import annotations

import msgspec
import pytest

from haclient.core.allow import AllowList, parse_rule
from haclient.core.config import (
    Config,
    ListenerSettings,
    LogSettings,
    Mode,
    ResolverSettings,
    TcpBind,
)
from haclient.core.spec import Target
from haclient.ops.reload_report import changes

DOOR = ListenerSettings(name="door", bind=TcpBind("127.0.0.1", 80), target="a")
OLD = Config(targets={name: Target(urls=f"http://{name}") for name in "dcba"}, listeners=(DOOR,))


def changed(**values: object) -> list[str]:
    return list(changes(OLD, msgspec.structs.replace(OLD, **values)))


def test_nothing() -> None:
    assert changed() == ["nothing changed"]


def test_targets_stand_in_the_order_of_the_old_file_and_new_ones_behind() -> None:
    targets = {name: Target(urls=f"http://{name}") for name in ("f", "b", "e", "c")}
    targets["c"] = Target(urls="http://user:secret@c", window=5.0)
    assert changed(targets=targets) == [
        "target d: removed",
        "target c: urls, window",
        "target a: removed",
        "target f: added",
        "target e: added",
    ]


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"listeners": ()}, "listener door: removed"),
        (
            {"listeners": (msgspec.structs.replace(DOOR, via=False, max_head=4096),)},
            "listener door: max_head, via",
        ),
        ({"resolver": ResolverSettings(min_ttl=2.0)}, "resolver: min_ttl"),
        ({"log": LogSettings(format="json")}, "log: format"),
        ({"drain_timeout": 5.0}, "daemon: drain_timeout"),
        ({"replay_memory": 5}, "daemon: replay_memory"),
    ],
)
def test_one_thing(values: dict[str, object], line: str) -> None:
    assert changed(**values) == [line]


def test_defaults_are_told_of_where_a_forward_proxy_goes_by_them() -> None:
    defaults = Target(urls="http://destination.invalid", window=5.0)
    proxy = msgspec.structs.replace(DOOR, name="proxy", mode=Mode.FORWARD, target=None)
    rules = AllowList((parse_rule("*.internal:*"),))
    assert changed(defaults=defaults) == ["nothing changed"]
    assert changed(defaults=defaults, listeners=(DOOR, proxy)) == [
        "listener proxy: added",
        "defaults: window",
    ]
    allowed = msgspec.structs.replace(DOOR, mode=Mode.FORWARD, allow=rules)
    assert changed(listeners=(allowed,)) == ["listener door: mode, allow"]
