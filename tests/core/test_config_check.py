"""What is wrong with a configuration whose every value is right by itself."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from haclient.core.allow import AllowList, parse_rule
from haclient.core.config import Mode, Route, parse_bind
from haclient.core.config_check import (
    LONGEST_ROUND_TRIP,
    Door,
    Fault,
    door_faults,
    largest_round_trip,
    loop_faults,
    protocol_faults,
    unused,
    window_plan,
)
from haclient.core.keepalive import Plan, Refusal
from haclient.core.spec import Target

HERE = "127.0.0.1:8080"

SOME = AllowList((parse_rule("*.internal:*"),))


def door(
    name: str = "a",
    bind: str | None = HERE,
    target: str | None = "t",
    routes: tuple[Route | None, ...] = (),
    public: bool = False,
    given: tuple[str, ...] = (),
    asks: bool = False,
) -> Door:
    place = parse_bind(bind) if bind is not None else None
    return Door(
        name=name,
        bind=place,
        target=target,
        routes=routes,
        public=public,
        given=frozenset(given),
        asks=asks,
    )


def forward(**given: object) -> Door:
    values = {"allow": SOME, **given}
    return Door(name="a", bind=parse_bind(HERE), mode=Mode.FORWARD, **values)  # type: ignore[arg-type]


def faults(
    *doors: Door, admin: str | None = None, targets: tuple[str, ...] = ("t",)
) -> list[Fault]:
    return list(door_faults(doors, parse_bind(admin) if admin else None, targets))


@pytest.mark.parametrize(
    "doors",
    [
        pytest.param([], id="no door"),
        pytest.param([door()], id="one door"),
        pytest.param([door(), door("b", "127.0.0.1:8081")], id="two doors"),
        pytest.param([door(target=None, routes=(Route("t", path="/a"),))], id="routes alone"),
        pytest.param([door(routes=(Route("t", path="/a"), Route("t")))], id="a catch-all last"),
        pytest.param([door(bind="0.0.0.0:80", public=True)], id="a public door that is meant"),
        pytest.param([door(bind="0.0.0.0:80", asks=True)], id="a door that asks who is there"),
        pytest.param([door(public=True)], id="a local door that might be public"),
        pytest.param([door(bind="systemd:a"), door("b", "unix:/a")], id="other kinds of doors"),
        pytest.param([door(bind=None), door("b", bind=None)], id="binds that could not be read"),
        pytest.param([door(target="")], id="a target that could not be read"),
        pytest.param([forward()], id="a forward proxy"),
        pytest.param([forward(allow=None)], id="an allow list that could not be read"),
        pytest.param([Door(name="a", bind=None, mode=None)], id="a mode that could not be read"),
        pytest.param([door(target=None, routes=(None, Route("t")))], id="a route that could not"),
    ],
)
def test_what_is_in_order(doors: list[Door]) -> None:
    assert faults(*doors) == []


@pytest.mark.parametrize("admin", ["unix:/run/a.sock", "127.0.0.1:9000", "[::1]:9000"])
def test_where_the_admin_endpoint_may_be(admin: str) -> None:
    assert faults(door(), admin=admin) == []


@pytest.mark.parametrize("admin", ["0.0.0.0:9000", "10.0.0.1:9000", "systemd:admin"])
def test_where_it_may_not_be(admin: str) -> None:
    (fault,) = faults(door(), admin=admin)

    assert fault.path == ("admin", "bind")
    assert "can stop the daemon" in fault.problem
    assert "unix:/run/haclient/admin.sock" in fault.wanted


def test_a_door_that_leads_nowhere() -> None:
    (fault,) = faults(door(target=None))

    assert fault.path == ("listener", "a")
    assert fault.wanted == 'write target = "NAME", or routes'


def test_targets_that_nobody_defined() -> None:
    routes = (Route("t", path="/a"), Route("odrers", path="/b"))
    first, second = faults(door(target="x", routes=routes), targets=("t", "orders"))

    assert first.path == ("listener", "a", "target")
    assert first.problem == "no [target.x] is defined"
    assert first.wanted == "there is orders, t"
    assert first.nearest == ("t", "orders")
    assert second.path == ("listener", "a", "routes", 1, "target")


def test_no_target_at_all() -> None:
    (fault,) = faults(door(), targets=())
    assert fault.wanted == "there is none"


def test_a_route_that_nothing_gets_to() -> None:
    routes = (Route("t", path="/a"), None, Route("t", host="a.test", path="/a/b"))
    (fault,) = faults(door(routes=routes))

    assert fault.path == ("listener", "a", "routes", 2)
    assert fault.problem.endswith("the first route that matches decides, and that is")
    assert fault.because == ("listener", "a", "routes", 0)


@pytest.mark.parametrize("bind", ["0.0.0.0:81", "[::]:81", "10.0.0.1:81"])
def test_a_door_that_is_open_to_all(bind: str) -> None:
    (fault,) = faults(door(bind=bind))

    assert fault.path == ("listener", "a", "bind")
    assert fault.problem == "others on the network can use it, and nobody is asked who he is"
    assert fault.wanted.startswith('write bind = "127.0.0.1:81", or ')


def test_passwords_in_the_clear() -> None:
    (fault,) = faults(door(bind="0.0.0.0:81", given=("auth",)))

    assert fault.path == ("listener", "a", "bind")
    assert fault.problem == "passwords would cross the network as they are"
    assert faults(door(bind="0.0.0.0:81", public=True, given=("auth",))) == []


GUARDS = ("allow_uids", "socket_mode")


@pytest.mark.parametrize(
    ("bind", "given"),
    [
        pytest.param("unix:/a", GUARDS, id="a socket of our own"),
        pytest.param(
            "systemd:a", ("allow_uids",), id="an inherited one, which may be a Unix socket"
        ),
        pytest.param(None, GUARDS, id="a bind that could not be read"),
    ],
)
def test_guards_that_guard(bind: str | None, given: tuple[str, ...]) -> None:
    assert faults(door(bind=bind, given=given)) == []


@pytest.mark.parametrize(
    ("bind", "key", "wanted"),
    [
        (
            HERE,
            "allow_uids",
            'bind to a Unix socket, as "unix:/run/haclient/x.sock", or leave it out',
        ),
        (HERE, "socket_mode", "leave it out"),
        ("systemd:a", "socket_mode", "write SocketMode= there"),
    ],
)
def test_guards_that_would_guard_nothing(bind: str, key: str, wanted: str) -> None:
    (fault,) = faults(door(bind=bind, given=(key,)))

    assert fault.path == ("listener", "a", key)
    assert fault.wanted == wanted


def test_doors_on_one_address() -> None:
    doors = [door(), door("b", "127.0.0.1:81"), door("c"), door("d", bind=None)]
    first, second = faults(*doors, admin="127.0.0.1:81")

    assert (first.path, first.problem) == (
        ("listener", "c", "bind"),
        "[listener.a] is bound there already",
    )
    assert (second.path, second.problem) == (
        ("admin", "bind"),
        "[listener.b] is bound there already",
    )


def test_a_target_that_no_door_leads_to() -> None:
    doors = [door(), door("b", target=None, routes=(None, Route("u")))]
    assert unused(doors, ["t", "u", "v"]) == ["v"]


# --- windows --------------------------------------------------------------------------------------


def target(window: float = 4.0, connect_timeout: float = 1.0) -> Target:
    return Target(urls="http://a.test", window=window, connect_timeout=connect_timeout)


def test_a_window_and_the_smallest() -> None:
    assert isinstance(window_plan(target()), Plan)
    refusal = window_plan(target(1.0))
    assert isinstance(refusal, Refusal)
    assert isinstance(window_plan(target(refusal.smallest)), Plan)
    assert isinstance(window_plan(target(refusal.smallest - 0.001)), Refusal)


def test_what_one_machine_takes_the_next_one_does() -> None:
    """A kernel that lacks TCP_RTO_MAX_MS judges one phase less."""
    for milliseconds in range(50, 3000, 50):
        small = target(4.0, milliseconds / 1000)
        without = Plan.for_window(small.window, small.connect_timeout, caps_window_probes=False)
        assert isinstance(window_plan(small), Refusal) or isinstance(without, Plan)


@given(st.integers(1, 20_000), st.integers(1, 5000))
def test_the_largest_round_trip_is_the_last_that_is_kept(window: int, connect: int) -> None:
    one = target(window / 1000, connect / 1000)
    largest = largest_round_trip(one)
    after = largest + 0.001

    def is_kept(rtt: float) -> bool:
        return isinstance(Plan.for_window(one.window, one.connect_timeout, rtt, rtt / 2), Plan)

    assert is_kept(largest) or largest == 0
    assert largest == LONGEST_ROUND_TRIP or not is_kept(after)


DB, WEB = Target(urls=["tcp://a.test:1"]), Target(urls=["http://a.test"])


@pytest.mark.parametrize(
    ("mode", "target", "words"),
    [
        (Mode.REVERSE, WEB, None),
        (Mode.TCP, DB, None),
        (None, DB, None),
        (None, WEB, None),
        (Mode.REVERSE, DB, "this listener speaks HTTP"),
        (Mode.TCP, WEB, "this listener passes bytes on as they are"),
    ],
)
def test_doors_and_servers_of_one_protocol(
    mode: Mode | None, target: Target, words: str | None
) -> None:
    one = Door(name="a", bind=None, target="t", mode=mode)
    found = [(fault.path, fault.problem) for fault in protocol_faults([one], {"t": target})]
    if words is None:
        assert found == []
    else:
        [(path, problem)] = found
        assert path == ("listener", "a", "target")
        assert problem.startswith(words)


def test_a_target_that_could_not_be_read_is_of_any_protocol() -> None:
    assert list(protocol_faults([door(routes=(Route("u"),))], {})) == []


@pytest.mark.parametrize(
    ("listener", "targets", "path", "words"),
    [
        (forward(target="t"), (), ("target",), "a forward proxy goes where each request says"),
        (forward(routes=(Route("t"),)), (), ("routes",), "goes where each request says"),
        (forward(allow=AllowList()), (), (), "it refuses everything"),
        (forward(allow=AllowList(), given=frozenset({"allow"})), (), ("allow",), "it refuses"),
        (forward(), ("a",), (), "[target.a] has this name too"),
        (
            Door(name="a", bind=None, target="t", allow=SOME),
            ("t",),
            ("allow",),
            "only a forward proxy has a list",
        ),
    ],
)
def test_what_is_wrong_with_a_forward_proxy(
    listener: Door, targets: tuple[str, ...], path: tuple[str, ...], words: str
) -> None:
    (fault,) = faults(listener, targets=targets)

    assert fault.path == ("listener", "a", *path)
    assert words in fault.problem


@pytest.mark.parametrize(
    ("bind", "url", "is_own"),
    [
        (HERE, "http://127.0.0.1:8080/", True),
        (HERE, "tcp://127.0.0.1:8080", True),
        (HERE, "http://127.0.0.1:8081/", False),
        (HERE, "http://127.0.0.2:8080/", False),
        (HERE, "http://shop.internal:8080/", False),
        ("[::1]:8080", "https://[0:0::1]:8080/", True),
        ("0.0.0.0:8080", "http://127.0.0.2:8080/", True),
        ("0.0.0.0:8080", "http://10.0.0.1:8080/", False),
        ("0.0.0.0:8080", "http://[::1]:8080/", False),
        ("127.0.0.1:0", "http://127.0.0.1:8080/", False),
        ("unix:/run/a", "http://127.0.0.1:8080/", False),
    ],
)
def test_a_target_that_is_a_listener_of_the_file(bind: str, url: str, is_own: bool) -> None:
    other = "tcp://c.test:1" if url.startswith("tcp") else "http://c.test/"
    targets = {"t": Target(urls=[other], backups=[other, url])}
    found = list(loop_faults([door("orders", bind)], None, targets))
    expected = Fault(
        ("target", "t", "backups", 1),
        "that is [listener.orders]: what is sent there would come back",
        "name the servers themselves",
    )
    assert found == ([expected] if is_own else [])


@pytest.mark.parametrize(
    ("admin", "is_own"),
    [("127.0.0.1:8080", True), ("127.0.0.1:9090", False), ("unix:/run/a", False)],
)
def test_a_target_that_is_the_admin_endpoint(admin: str, is_own: bool) -> None:
    targets = {"t": Target(urls=["http://127.0.0.1:8080/"])}
    found = list(loop_faults([door("orders", "127.0.0.1:8081")], parse_bind(admin), targets))
    expected = Fault(
        ("target", "t", "urls", 0),
        "that is [admin]: nobody is to give orders through a listener",
        "name the servers themselves",
    )
    assert found == ([expected] if is_own else [])
