"""TCP mode with two real Redis servers and redis-cli: killed and blackholed while they owe an answer."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.support.daemon import Daemon, daemon, eventually
from tests.support.island import Foreign, Island, island, redis

pytestmark = pytest.mark.netns

FILE = """
[target.cache]
urls = ["tcp://127.0.0.2:6379"]
backups = ["tcp://127.0.0.3:6379"]

[listener.cache]
mode = "tcp"
bind = "127.0.0.1:6379"
target = "cache"
"""

SLOW = 4
"""Seconds: well past what a dead server is found in."""

WINDOW = 4.0


class Scene:
    """Both servers, and the daemon in front."""

    def __init__(self, land: Island, first: Foreign, second: Foreign, process: Daemon) -> None:
        self.land = land
        self.first = first
        self.second = second
        self.process = process

    def ask(self, *words: str, host: str = "127.0.0.1") -> str:
        """One command; through the daemon, unless another host is given."""
        return self.land.run("redis-cli", "-h", host, *words).stdout.strip()

    def is_blocked(self) -> bool:
        """Whether a client of the first server has waited in BLPOP for a second."""
        clients = self.ask("client", "list", host=self.first.address).splitlines()
        return any("cmd=blpop" in one and "idle=0" not in one for one in clients)

    def interrupted(self, what: str) -> tuple[str, float]:
        """BLPOP, in whose midst something befalls the first server: what its client says, and when."""
        with self.land.running("redis-cli", "-h", "127.0.0.1", "blpop", "nothing", "0") as process:
            eventually(self.is_blocked)
            began_at = time.perf_counter()
            if what == "killed":
                self.first.kill()
            else:
                self.land.blackhole(self.first.address)
            stdout, stderr = process.communicate(timeout=30)
            return stdout + stderr, time.perf_counter() - began_at


@pytest.fixture(scope="module")
def _scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("daemon")
    with (
        island() as land,
        redis(land, "127.0.0.2") as first,
        redis(land, "127.0.0.3") as second,
        daemon(folder, FILE, entering=land.entering()) as process,
    ):
        yield Scene(land, first, second, process)


@pytest.fixture
def scene(_scene: Scene) -> Iterator[Scene]:
    """With the first server well, and so held: it is tried out while the backup serves."""
    yield _scene
    _scene.land.heal()
    if not _scene.first.is_running:
        _scene.first.start()
    eventually(lambda: _scene.ask("get", "me") == _scene.first.address)


def test_a_long_wait_on_a_living_server(scene: Scene) -> None:
    began_at = time.perf_counter()
    assert scene.ask("blpop", "nothing", str(SLOW)) == ""
    assert time.perf_counter() - began_at >= SLOW
    assert "error" not in scene.process.log


def test_many_commands_on_one_connection(scene: Scene) -> None:
    assert scene.ask("-r", "2000", "incr", "count").splitlines() == [
        str(number) for number in range(1, 2001)
    ]


def test_a_subscriber_hears_what_is_published(scene: Scene) -> None:
    with scene.land.running("redis-cli", "-h", "127.0.0.1", "subscribe", "news") as process:
        assert process.stdout is not None
        # What was subscribed to, in three lines; then each message in three.
        assert [process.stdout.readline().strip() for _ in range(3)] == ["subscribe", "news", "1"]
        for word in ("one", "two"):
            assert scene.ask("publish", "news", word) == "1"
            heard = [process.stdout.readline().strip() for _ in range(3)]
            assert heard == ["message", "news", word]


def test_killed_while_it_owes_an_answer(scene: Scene) -> None:
    said, took = scene.interrupted("killed")
    assert "Server closed the connection" in said or "reset by peer" in said
    assert took < 1.5
    assert scene.ask("get", "me") == scene.second.address


def test_blackholed_while_it_owes_an_answer(scene: Scene) -> None:
    said, took = scene.interrupted("blackholed")
    assert "reset by peer" in said or "Server closed the connection" in said
    assert 1.0 < took < WINDOW
    print(f"the client had its error after {took:.2f} s")
    began_at = time.perf_counter()
    assert scene.ask("get", "me") == scene.second.address
    assert time.perf_counter() - began_at < 1.5
