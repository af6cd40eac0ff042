"""Ways around an allow list that others were caught by: none of them is dialled, none that is no name looked up.

The list is the most generous one that names nothing in particular. So whatever gets through here would get
through anywhere.
"""

from __future__ import annotations

from typing import Any

import pytest
from trio.testing import MockClock

from haclient.core.allow import AllowList, parse_rule
from haclient.core.config import Mode
from tests.proxy.house import House, house
from tests.proxy.playbook import play, wire
from tests.sim.dns import Answer

GENEROUS = ("*:*", "*.test:*", "0.0.0.0/0:*", "[::/0]:*")

SPELLINGS = {
    # Loopback, as everybody reads it.
    "127.0.0.1": 403,
    "127.0.0.2": 403,
    "127.255.255.254": 403,
    "[::1]": 403,
    "[0:0:0:0:0:0:0:1]": 403,
    "[0000::0001]": 403,
    # As getaddrinfo(3) and browsers read it.
    "2130706433": 400,
    "017700000001": 400,
    "0x7f000001": 400,
    "0X7F000001": 400,
    "0x7f.0.0.1": 400,
    "0x7f.1": 400,
    "0177.0.0.1": 400,
    "0177.1": 400,
    "127.1": 400,
    "127.0.1": 400,
    "127.000.000.001": 400,
    "127.0.0.01": 400,
    "127.0.0.0x1": 400,
    "127.0.0.1.": 400,
    "127.0.0.1..": 400,
    "127.0.0.257": 400,
    "4294967297": 400,
    "0": 400,
    "0x0": 400,
    "00.0.0.0": 400,
    # IPv4 in another dress.
    "[::ffff:127.0.0.1]": 403,
    "[::FFFF:7F00:1]": 403,
    "[0:0:0:0:0:ffff:7f00:0001]": 403,
    "[::127.0.0.1]": 403,
    "[::7f00:1]": 403,
    "[::ffff:0:127.0.0.1]": 403,
    "[64:ff9b::127.0.0.1]": 403,
    "[64:ff9b::a9fe:a9fe]": 403,
    "[64:ff9b:1::7f00:1]": 403,
    "[2002:7f00:1::]": 403,
    "[2002:a9fe:a9fe::1]": 403,
    "[2001:0:0:0:0:0:80ff:fffe]": 403,
    # This machine, or nobody in particular.
    "0.0.0.0": 403,
    "0.1.2.3": 403,
    "[::]": 403,
    "[::0.0.0.0]": 403,
    "255.255.255.255": 403,
    "224.0.0.1": 403,
    "240.0.0.1": 403,
    "[ff02::1]": 403,
    # The link, and the clouds.
    "169.254.0.1": 403,
    "169.254.169.254": 403,
    "[::ffff:169.254.169.254]": 403,
    "2852039166": 400,
    "0xa9fea9fe": 400,
    "169.254.170.2": 403,
    "100.100.100.200": 403,
    "168.63.129.16": 403,
    "192.0.0.192": 403,
    "[fe80::1]": 403,
    "[fe80::5efe:7f00:1]": 403,
    "[fe80::1%25lo]": 400,
    "[fe80::1%lo]": 400,
    "[fd00:ec2::254]": 403,
    # Names that are none, and readers that differ.
    "%6c%6f%63alhost": 400,
    "127%2e0%2e0%2e1": 400,
    "127。0。0。1": 400,
    "①②⑦.⓪.⓪.①": 400,
    "127.0.0.1%00.test": 400,
    "127.0.0.1#.test": 400,
    "127.0.0.1\\.test": 400,
    "a.test@127.0.0.1": 400,
    "127.0.0.1@a.test": 400,
    "a.test:80@127.0.0.1": 400,
    "[::1": 400,
    "::1": 400,
    "[::1]a.test": 400,
    "[127.0.0.1]": 400,
    "": 400,
    ".": 400,
    "..": 400,
    "a..test": 400,
    "*": 400,
    "a,127.0.0.1": 400,
    "a;127.0.0.1": 400,
    "a test": 400,
    "a\ttest": 400,
}
"""A host as it is written, and the status that it meets."""


def generous(*more: str) -> dict[str, Any]:
    """The settings of a door."""
    rules = AllowList(tuple(map(parse_rule, (*GENEROUS, *more))))
    return {"mode": Mode.FORWARD, "allow": rules}


async def refused(h: House, head: str, status: int) -> None:
    """Asks, and is refused; nothing that follows is read, and nobody was dialled."""
    client = h.client()
    behind = b"GET http://a.test/ HTTP/1.1\r\nHost: a.test\r\n\r\n"
    asked = wire(head.encode("utf-8").replace(b"|", b"\r\n")) + behind
    method = head.partition(" ")[0]
    await play(client.says(asked), client.hears_answer(status, method), client.hears_end())

    assert client.got.is_last
    assert h.network.connections == []
    assert len(h.records) == 1


@pytest.mark.parametrize("form", ["GET http://{}/ HTTP/1.1", "CONNECT {}:80 HTTP/1.1"])
@pytest.mark.parametrize("host", SPELLINGS)
async def test_no_spelling_gets_through(autojump_clock: MockClock, host: str, form: str) -> None:
    async with house(**generous()) as h:
        await refused(h, form.format(host) + "|Host: a.test||", SPELLINGS[host])
        assert h.resolver.asked == []


@pytest.mark.parametrize(
    "form", ["GET http://evil.test/ HTTP/1.1", "CONNECT evil.test:80 HTTP/1.1"]
)
@pytest.mark.parametrize(
    "address",
    [host.strip("[]") for host, status in SPELLINGS.items() if status == 403 and host != "[::1]"],
)
async def test_no_name_leads_there(autojump_clock: MockClock, address: str, form: str) -> None:
    async with house(**generous()) as h:
        h.resolver.script("evil.test", Answer(address))
        client = h.client()
        asked = f"{form}|Host: x|Connection: close||"
        answer = client.hears_answer(403, form.split()[0])
        await play(client.says(asked), answer, client.hears_end())
        assert "error=destination_ip_prohibited" in client.got.proxy_status
        assert h.network.connections == []


@pytest.mark.parametrize(
    "name", ["localhost", "LOCALHOST", "localhost.", "a.localhost", "localhost.test"]
)
async def test_a_name_for_this_machine(autojump_clock: MockClock, name: str) -> None:
    async with house(**generous()) as h:
        h.resolver.script(name.lower(), Answer("::1", "127.0.0.1"))
        await h.ask(403, 0.0, target=f"http://{name}/")
        assert h.network.connections == []


@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET / HTTP/1.1|Host: 127.0.0.1||", 400),
        ("GET /http://a.test/ HTTP/1.1|Host: a.test||", 400),
        ("GET //a.test/ HTTP/1.1|Host: a.test||", 400),
        ("GET http:a.test HTTP/1.1|Host: a.test||", 400),
        ("GET http:/\\a.test HTTP/1.1|Host: a.test||", 400),
        ("GET https://a.test/ HTTP/1.1|Host: a.test||", 501),
        ("GET gopher://a.test/ HTTP/1.1|Host: a.test||", 501),
        ("GET unix:/run/docker.sock HTTP/1.1|Host: a.test||", 400),
        ("GET http://a.test:0/ HTTP/1.1|Host: a.test||", 400),
        ("GET http://a.test:-1/ HTTP/1.1|Host: a.test||", 400),
        ("GET http://a.test:+80/ HTTP/1.1|Host: a.test||", 400),
        ("GET http://a.test:65616/ HTTP/1.1|Host: a.test||", 400),
        ("GET http://a.test:80:443/ HTTP/1.1|Host: a.test||", 400),
        ("CONNECT a.test HTTP/1.1|Host: a.test||", 400),
        ("CONNECT a.test: HTTP/1.1|Host: a.test||", 400),
        ("CONNECT :80 HTTP/1.1|Host: a.test||", 400),
        ("CONNECT a.test:80/ HTTP/1.1|Host: a.test||", 400),
        ("CONNECT a.test:0 HTTP/1.1|Host: a.test||", 400),
        ("CONNECT a.test:080000 HTTP/1.1|Host: a.test||", 400),
        ("CONNECT a.test:80 HTTP/1.1|Host: a.test|Content-Length: 47||", 400),
        ("CONNECT a.test:80 HTTP/1.1|Host: a.test|Transfer-Encoding: chunked||", 400),
        ("CONNECT a.test:80 HTTP/1.1|Host: a.test|Host: b.test||", 400),
        ("CONNECT a.test:80 HTTP/1.1||", 400),
        ("CONNECT * HTTP/1.1|Host: a.test||", 400),
        ("connect a.test:80 HTTP/1.1|Host: a.test||", 400),
        ("PRI * HTTP/2.0||", 505),
    ],
)
async def test_what_is_no_proxys_request(autojump_clock: MockClock, head: str, status: int) -> None:
    async with house(**generous()) as h:
        await refused(h, head, status)
        assert h.resolver.asked == []


async def test_the_host_field_leads_nowhere(autojump_clock: MockClock) -> None:
    async with house(**generous()) as h:
        await h.ask(200, 0.0, target="http://a.test/", fields="X-Forwarded-Host: 127.0.0.1|")
        assert [value for name, value in h.a.executed[0].fields if name.lower() == b"host"] == [
            b"a.test"
        ]


async def test_what_the_list_names_gets_through(autojump_clock: MockClock) -> None:
    async with house(**generous("127.0.0.1:80")) as h:
        # Nobody is there: but somebody was asked.
        await h.ask(502, 0.0, target="http://127.0.0.1/")
        await h.ask(502, 0.0, target="http://[::ffff:127.0.0.1]/")
        assert [str(one.origin) for record in h.records for one in record.attempts] == [
            "http://127.0.0.1",
            "http://[::ffff:7f00:1]",
        ]
