"""`standby = true` with real processes and TLS: the resend goes out on the connection that was ready."""

from __future__ import annotations

from pathlib import Path

import httpx
import trio
import trustme

from tests.support.certificates import write_ca
from tests.support.command import needs_command
from tests.support.origin import Behaviour
from tests.support.origin_process import origin_process
from tests.support.running import asked
from tests.support.sidecar import Sidecar, sidecar

pytestmark = needs_command

PATIENCE = 30.0


async def leased(door: Sidecar) -> list[int]:
    """Connections in use to each address, in the order of the URLs."""
    answer = await asked(f"unix:{door.admin_socket}", "GET /status")
    [target] = answer.json["targets"]
    return [one["leased"] for one in target["endpoints"]]


async def until_leased(door: Sidecar, wanted: list[int]) -> None:
    for _ in range(int(PATIENCE / 0.05)):
        if await leased(door) == wanted:
            return
        await trio.sleep(0.05)
    raise AssertionError(f"{await leased(door)} are leased, not {wanted}")


async def test_a_server_is_killed_while_it_thinks(tmp_path: Path) -> None:
    authority = trustme.CA()
    leaf = authority.issue_cert("127.0.0.1")
    cert_file = tmp_path / "server.pem"
    leaf.private_key_and_cert_chain_pem.write_to_path(str(cert_file))
    tls = {"ca_file": write_ca(authority, tmp_path / "ca.pem")}
    target = {"order": "listed", "standby": True, "tls": tls}
    async with (
        origin_process(name="a", cert_file=cert_file, key_file=cert_file) as a,
        origin_process(name="b", cert_file=cert_file, key_file=cert_file) as b,
        httpx.AsyncClient(timeout=PATIENCE) as client,
    ):
        urls = [f"https://{one.endpoint}" for one in (a, b)]
        with sidecar(*urls, target=target) as door:
            assert (await client.get(door.url)).headers["x-origin"] == "a"
            assert await leased(door) == [0, 0]
            await a.set(Behaviour(think=PATIENCE))
            answers: list[httpx.Response] = []

            async def get() -> None:
                answers.append(await client.get(door.url))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(get)
                await until_leased(door, [1, 1])
                assert await b.executed() == 0
                await a.kill()
            assert answers[0].headers["x-origin"] == "b"
            # The one that was ready, and no other, was opened there.
            assert [one.connection for one in await b.log()] == [1]
