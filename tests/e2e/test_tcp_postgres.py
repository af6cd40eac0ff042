"""TCP mode with two real PostgreSQL servers and psql: killed and blackholed in the midst of a query.

Everything is on an island (tests.support.island), so that a firewall can take one of the servers away.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.support.daemon import eventually
from tests.support.island import TwoServers, postgres, two_servers

pytestmark = pytest.mark.netns

FILE = """
[target.db]
urls = ["tcp://127.0.0.2:5432", "tcp://127.0.0.3:5432"]
order = "listed"

[listener.db]
mode = "tcp"
bind = "127.0.0.1:5432"
target = "db"
"""

WHO = "select host(inet_server_addr())"
SLOW = 5.0
"""Seconds: twice what a dead server is found in."""

WINDOW = 4.0


class Scene(TwoServers):
    """Both servers, and the daemon in front."""

    def psql(self, query: str, host: str = "127.0.0.1") -> list[str]:
        """The words that run a query; through the daemon, unless another host is given."""
        return ["psql", "-h", host, "-U", "postgres", "-At", "-c", query]

    def ask(self, query: str, host: str = "127.0.0.1") -> str:
        done = self.land.run(*self.psql(query, host))
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def is_executed(self, words: str) -> bool:
        """Whether the first server is at it, and has acknowledged it (a delayed ACK takes 40 ms)."""
        age = "now() - query_start > interval '0.3 s'"
        count = f"select count(*) from pg_stat_activity where query = '{words}' and {age}"
        return self.ask(count, self.first.address) == "1"

    def interrupted_query(self, what: str) -> tuple[str, float]:
        """A query in whose midst something befalls the first server: the error, and after how long."""
        query = "select pg_sleep(60)"
        done, took = self.interrupted(self.psql(query), lambda: self.is_executed(query), what)
        assert done.returncode != 0
        return done.stderr, took


@pytest.fixture(scope="module")
def _scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with two_servers(postgres, tmp_path_factory.mktemp("daemon"), FILE) as found:
        yield Scene(*found)


@pytest.fixture
def scene(_scene: Scene) -> Iterator[Scene]:
    """With both servers well again, and both so held."""
    yield _scene
    _scene.mend()
    _scene.process.reload(FILE)
    eventually(lambda: _scene.ask(WHO) == _scene.first.address)


def test_a_slow_query_on_a_living_server_is_waited_for(scene: Scene) -> None:
    began_at = time.perf_counter()
    assert scene.ask(f"{WHO} from pg_sleep({SLOW})") == scene.first.address
    assert time.perf_counter() - began_at >= SLOW


def test_a_large_result_is_whole(scene: Scene) -> None:
    rows = scene.ask("select repeat('x', 1000) from generate_series(1, 20000)")
    assert rows == "\n".join(["x" * 1000] * 20000)


def test_killed_in_mid_query(scene: Scene) -> None:
    error, took = scene.interrupted_query("killed")
    assert "server closed the connection unexpectedly" in error or "reset by peer" in error
    assert took < 1.5
    assert scene.ask(WHO) == scene.second.address


def test_blackholed_in_mid_query(scene: Scene) -> None:
    error, took = scene.interrupted_query("blackholed")
    assert "reset by peer" in error or "server closed the connection unexpectedly" in error
    assert 1.0 < took < WINDOW
    print(f"the client had its error after {took:.2f} s")
    began_at = time.perf_counter()
    assert scene.ask(WHO) == scene.second.address
    assert time.perf_counter() - began_at < 1.5
    assert "3 keep-alive probes unanswered" in scene.process.log


def test_nobody_is_there(scene: Scene) -> None:
    scene.land.blackhole(scene.first.address)
    scene.land.blackhole(scene.second.address)
    done = scene.land.run(*scene.psql(WHO))
    assert isinstance(done, subprocess.CompletedProcess)
    assert done.returncode == 2
    assert "outcome=turned_away" in scene.process.log
