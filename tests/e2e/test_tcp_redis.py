"""TCP mode with two real Redis servers and redis-cli: killed and blackholed while they owe an answer."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.support.daemon import eventually
from tests.support.island import TwoServers, redis, two_servers

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


class Scene(TwoServers):
    """Both servers, and the daemon in front."""

    def ask(self, *words: str, host: str = "127.0.0.1") -> str:
        """One command; through the daemon, unless another host is given."""
        return self.land.run("redis-cli", "-h", host, *words).stdout.strip()

    def is_blocked(self) -> bool:
        """Whether a client of the first server has waited in BLPOP for a second."""
        clients = self.ask("client", "list", host=self.first.address).splitlines()
        return any("cmd=blpop" in one and "idle=0" not in one for one in clients)

    def interrupted_wait(self, what: str) -> tuple[str, float]:
        """BLPOP, in whose midst something befalls the first server: what its client says, and when."""
        words = ["redis-cli", "-h", "127.0.0.1", "blpop", "nothing", "0"]
        done, took = self.interrupted(words, self.is_blocked, what)
        return done.stdout + done.stderr, took


@pytest.fixture(scope="module")
def _scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with two_servers(redis, tmp_path_factory.mktemp("daemon"), FILE) as found:
        yield Scene(*found)


@pytest.fixture
def scene(_scene: Scene) -> Iterator[Scene]:
    """With the first server well, and so held: it is tried out while the backup serves."""
    yield _scene
    _scene.mend()
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
    said, took = scene.interrupted_wait("killed")
    assert "Server closed the connection" in said or "reset by peer" in said
    assert took < 1.5
    assert scene.ask("get", "me") == scene.second.address


def test_blackholed_while_it_owes_an_answer(scene: Scene) -> None:
    said, took = scene.interrupted_wait("blackholed")
    assert "reset by peer" in said or "Server closed the connection" in said
    assert 1.0 < took < WINDOW
    print(f"the client had its error after {took:.2f} s")
    began_at = time.perf_counter()
    assert scene.ask("get", "me") == scene.second.address
    assert time.perf_counter() - began_at < 1.5
