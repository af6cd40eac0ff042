"""The installed command and a name server: what a name leads to, and what its line says where it does
not lead anywhere.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import trio

from tests.support.command import COMMAND, environment, needs_command
from tests.support.dns_server import Behaviour
from tests.support.name_service import (
    in_mount_namespace,
    needs_mount_namespace,
    resolv_conf,
    serve_names,
)
from tests.support.origin_process import origin_process

pytestmark = [needs_command, needs_mount_namespace]


class TestNames:
    @pytest.mark.parametrize(
        ("behaviour", "words"),
        [
            (Behaviour(rcode="NXDOMAIN"), "no such name"),
            (Behaviour(), "no address"),
            (Behaviour(rcode="SERVFAIL"), "SERVFAIL"),
            (Behaviour(rcode="REFUSED"), "REFUSED"),
            (Behaviour(is_silent=True), "no name server answered"),
        ],
        ids=["no such name", "no address", "a failure", "a refusal", "silence"],
    )
    async def test_a_name_without_an_address(
        self, behaviour: Behaviour, words: str, tmp_path: Path
    ) -> None:
        async with serve_names() as server:
            server.script("nowhere.test.", behaviour)
            path = resolv_conf(tmp_path)
            ours = in_mount_namespace(path, [COMMAND, "request", "http://nowhere.test/"])
            ran = await trio.run_process(
                ours, capture_stdout=True, capture_stderr=True, check=False, env=environment()
            )

        told = ran.stderr.decode()
        assert ran.returncode == 6
        assert told.startswith("haclient: (6) cannot resolve nowhere.test: ")
        assert words in told
        assert "127.53.53.53" in told
        assert told.endswith("or give its address with --resolve\n")
        assert told.count("\n") == 1

    async def test_the_same_codes_as_curl(self, tmp_path: Path) -> None:
        rows = {"http://nowhere.test/": 6, "-x http://nowhere.test:80 http://h.test/": 5}
        async with serve_names():
            path = resolv_conf(tmp_path)
            for program in (["curl", "-q", "-s"], [COMMAND, "request", "-s"]):
                for row, code in rows.items():
                    words = in_mount_namespace(path, [*program, *row.split()])
                    ran = await trio.run_process(
                        words, capture_stderr=True, check=False, env=environment()
                    )
                    assert (ran.returncode, ran.stderr) == (code, b""), program

    async def test_a_name_that_leads_to_a_server(self, tmp_path: Path) -> None:
        async with serve_names() as server, origin_process("127.0.0.1:0") as origin:
            server.script("orders.test.", Behaviour(addresses=("127.0.0.1",)))
            url = f"http://orders.test:{origin.endpoint.port}/"
            words = in_mount_namespace(resolv_conf(tmp_path), [COMMAND, "request", "-v", url])
            ran = await trio.run_process(
                words, capture_stdout=True, capture_stderr=True, env=environment()
            )

        assert ran.stdout == b"origin: GET /\n"
        assert b"* orders.test: 127.0.0.1:%d (dns)" % origin.endpoint.port in ran.stderr
