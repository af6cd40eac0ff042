"""Another file under load: nobody loses a request, and a file with a mistake changes nothing."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trio
import trustme

from tests.support.certificates import write_private
from tests.support.command import haclient, needs_command
from tests.support.daemon import Daemon, connected, daemon, eventually, reverse, write_file
from tests.support.origin import Behaviour, Origin
from tests.support.recorder import Recorder, recording
from tests.support.sidecar import free_port
from tests.support.stage import Stage
from tests.support.steady_load import SteadyLoad

pytestmark = needs_command

RELOADS = 6
RATE = 30.0
SECONDS = 4.0

GET = b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n"


def by_signal(process: Daemon, text: str) -> None:
    process.reload(text)


def by_command(process: Daemon, text: str) -> None:
    write_file(process.folder, text)
    ran = haclient(["reload", "--admin", process.admin])
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert b"main" in ran.stdout


@pytest.mark.parametrize("reload", [by_signal, by_command])
async def test_no_request_is_lost_while_the_target_changes(
    reload: Callable[[Daemon, str], None], tmp_path: Path
) -> None:
    origins = [Origin("one", Behaviour(think=0.02)), Origin("two", Behaviour(think=0.02))]
    door = f"127.0.0.1:{free_port()}"
    async with trio.open_nursery() as nursery:
        for origin in origins:
            await nursery.start(origin.serve)
        texts = [reverse(f"http://{origin.endpoint}", door) for origin in origins]
        with daemon(tmp_path, texts[0]) as process:
            load = SteadyLoad(f"http://{door}")
            async with trio.open_nursery() as loaded:
                loaded.start_soon(load.run, SECONDS, RATE)
                for number in range(1, RELOADS + 1):
                    await trio.sleep(SECONDS / (RELOADS + 2))
                    await trio.to_thread.run_sync(reload, process, texts[number % 2])
            code = await trio.to_thread.run_sync(process.end)
        nursery.cancel_scope.cancel()

    assert (load.errors("GET"), load.errors("POST")) == ({}, {})
    assert code == 0
    served = [[one.target for one in origin.log if one.is_whole] for origin in origins]
    assert all(served), "both were asked"
    assert sorted(served[0] + served[1]) == sorted(f"/{one.request_id}" for one in load.sent)


def answer_of(address: str, path: bytes = b"/") -> bytes:
    """The start of the answer to one request, on a connection of its own."""
    with connected(address) as client:
        client.sendall(GET % path)
        return client.recv(4096)


def test_a_file_with_a_mistake_changes_nothing(stage: Stage, tmp_path: Path) -> None:
    door = f"127.0.0.1:{free_port()}"
    good = reverse(stage.places["URL"], door)
    with daemon(tmp_path, good) as process:
        process.reload(good.replace("urls", "urlz").replace('bind = "1', 'bind = "x'))

        refusals = [line for line in process.log.splitlines() if "reload refused" in line]
        assert any("urlz" in line and "did you mean urls" in line for line in refusals), refusals
        assert any("[listener.door1]" in line for line in refusals), refusals
        assert all(" error " in line for line in refusals)
        assert answer_of(door).startswith(b"HTTP/1.1 200 ")
        assert process.end() == 0


def test_the_access_log_is_switched_off_and_on(stage: Stage, tmp_path: Path) -> None:
    door = f"127.0.0.1:{free_port()}"
    text = reverse(stage.places["URL"], door)
    with daemon(tmp_path, text) as process:
        for path, more in ((b"/first", ""), (b"/second", "access = false\n"), (b"/third", "")):
            process.reload(f"[log]\n{more}{text}")
            assert answer_of(door, path).startswith(b"HTTP/1.1 ")
        assert process.end() == 0

    assert [f"/{name}" in process.log for name in ("first", "second", "third")] == [
        True,
        False,
        True,
    ]


def test_an_address_in_use_changes_nothing(stage: Stage, tmp_path: Path) -> None:
    """Neither the one that was free before it in the file."""
    doors = [f"127.0.0.1:{free_port()}", f"unix:{tmp_path}/new.sock"]
    good = reverse(stage.places["URL"], doors[0])
    with daemon(tmp_path, good) as process, socket.create_server(("127.0.0.1", 0)) as server:
        taken = f"127.0.0.1:{server.getsockname()[1]}"
        write_file(tmp_path, reverse(stage.places["URL"], *doors, taken))
        ran = haclient(["reload", "--admin", process.admin])

        assert (ran.returncode, ran.stdout) == (1, b"")
        assert f"cannot listen on {taken}: Address already in use" in ran.stderr.decode()
        assert not (tmp_path / "new.sock").exists()
        assert answer_of(doors[0]).startswith(b"HTTP/1.1 200 ")
        assert process.end() == 0


@pytest.mark.parametrize("kind", ["TCP", "Unix"])
def test_a_door_is_added_and_taken_away(kind: str, stage: Stage, tmp_path: Path) -> None:
    door, unix = f"127.0.0.1:{free_port()}", f"unix:{tmp_path}/second.sock"
    second = f"127.0.0.1:{free_port()}" if kind == "TCP" else unix
    url = stage.places["URL"]
    with daemon(tmp_path, reverse(url, door)) as process, ExitStack() as stack:
        process.reload(reverse(url, door, second))
        assert answer_of(second).startswith(b"HTTP/1.1 200 ")
        asks = stack.enter_context(connected(second))
        idles = stack.enter_context(connected(second))
        asks.sendall(GET % b"/think/1500")
        eventually(lambda: any(b"/think/1500" in r.head for r in stage.doors[0].requests))

        process.reload(reverse(url, door))

        assert idles.recv(1) == b""
        with pytest.raises(OSError, match=r"refused|No such file"):
            connected(second)
        answer = asks.recv(4096)
        assert answer.startswith(b"HTTP/1.1 200 "), "what was outstanding is answered"
        assert b"Connection: close" in answer
        assert asks.recv(1) == b""
        assert answer_of(door).startswith(b"HTTP/1.1 200 ")
        assert process.end() == 0


def test_a_kept_connection_goes_by_the_new_file(tmp_path: Path) -> None:
    """The door is the same, so its connections stay; the next request on them goes elsewhere."""
    door = f"127.0.0.1:{free_port()}"
    with recording() as one, recording() as two:
        with daemon(tmp_path, reverse(one.url, door)) as process, connected(door) as client:
            for recorder in (one, two):
                process.reload(reverse(recorder.url, door))
                client.sendall(GET % b"/")
                assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
            assert process.end() == 0

        assert counts(one, two) == [1, 1]


def counts(*recorders: Recorder) -> list[int]:
    return [len(recorder.requests) for recorder in recorders]


def test_the_admin_endpoint_stays_where_it_is(stage: Stage, tmp_path: Path) -> None:
    door = f"127.0.0.1:{free_port()}"
    with daemon(tmp_path, reverse(stage.places["URL"], door)) as process:
        file = tmp_path / "haclient.toml"
        file.write_text(file.read_text().replace("admin.sock", "other.sock"))
        ran = haclient(["reload", "--admin", process.admin])

        assert ran.returncode == 1
        assert "[admin] bind cannot change in a reload" in ran.stderr.decode()
        assert process.end() == 0


def test_a_certificate_that_runs_out_is_told_at_each_reading(tmp_path: Path) -> None:
    today = datetime.now(UTC)
    file = tmp_path / "door.pem"

    def renew(days: int) -> None:
        leaf = trustme.CA().issue_cert(
            "door.test", not_before=today - timedelta(350), not_after=today + timedelta(days)
        )
        write_private(leaf.private_key_and_cert_chain_pem, file)

    renew(10)
    text = reverse("http://127.0.0.1:9", f"127.0.0.1:{free_port()}")
    text += f'tls = {{ cert_file = "{file}" }}\n'
    words = f"it expires on {today + timedelta(10):%Y-%m-%d}; renew it"
    with daemon(tmp_path, text) as process:
        assert process.log.count(words) == 1
        process.reload(text)
        process.wait_until(lambda: process.log.count(words) == 2)
        ran = haclient(["check", "-c", tmp_path / "haclient.toml"])
        assert (ran.returncode, ran.stderr.decode().count(words)) == (0, 1)
        renew(300)
        process.reload(text)
        process.wait_until(lambda: "listener door1: certificates" in process.log)
        assert process.log.count("renew it") == 2
