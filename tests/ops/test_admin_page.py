"""The status page: whole in itself, under a policy that fits it, and true to what it reads."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
import subprocess
from html.parser import HTMLParser

import msgspec
import pytest

from haclient.ops.admin_page import PAGE, POLICY, SCRIPT
from haclient.ops.changes import NameChange
from haclient.ops.health_change import HealthChange
from haclient.ops.status_report import (
    DnsReport,
    EndpointReport,
    FailoverReport,
    ListenerReport,
    OrderReport,
    StatusReport,
    TargetReport,
)
from haclient.types import Endpoint
from tests.support.running import asked, running


class Document(HTMLParser):
    """Tags, ids, and the text of scripts and styles."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.texts: dict[str, list[str]] = {"script": [], "style": []}

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attributes
        self.ids += [value for name, value in attributes if name == "id" and value]

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] in self.texts and data.strip():
            self.texts[self.tags[-1]].append(data)


@pytest.fixture
def document() -> Document:
    document = Document()
    document.feed(PAGE.decode())
    return document


def test_nothing_comes_from_elsewhere(document: Document) -> None:
    assert not {"img", "link", "iframe", "base", "object"} & set(document.tags)
    names = {name for name, _ in document.attributes}
    assert "src" not in names
    assert not any(name.startswith("on") or name == "style" for name in names)
    assert [value for name, value in document.attributes if name == "href"] == ["/status"]
    assert b"://" not in PAGE


@pytest.mark.parametrize("kind", ["script", "style"])
def test_the_policy_lets_exactly_this_run(document: Document, kind: str) -> None:
    (text,) = document.texts[kind]
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
    assert f"{kind}-src 'sha256-{digest}';" in POLICY.decode()


def test_the_policy_forbids_the_rest() -> None:
    policy = POLICY.decode()
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy
    assert "connect-src 'self'" in policy
    assert "frame-ancestors 'none'" in policy


def test_texts_are_put_in_as_texts() -> None:
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval"):
        assert way not in SCRIPT


def test_every_element_that_the_script_wants_is_there(document: Document) -> None:
    wanted = set(re.findall(r'at\("([a-z]+)"\)', SCRIPT))
    assert wanted
    assert wanted <= set(document.ids)


def members(*structs: type[msgspec.Struct]) -> set[str]:
    return {each.encode_name for struct in structs for each in msgspec.structs.fields(struct)}


def test_every_member_that_the_script_reads_is_there() -> None:
    """So that a report whose member gets another name takes the page along."""
    of_report = set(re.findall(r"\breport\.(\w+)", SCRIPT))
    of_target = set(re.findall(r"\btarget\.(\w+)", SCRIPT))
    of_each = set(re.findall(r"\beach\.(\w+)", SCRIPT))
    of_rows = members(
        EndpointReport,
        ListenerReport,
        FailoverReport,
        DnsReport,
        OrderReport,
        HealthChange,
        NameChange,
    )

    assert of_report
    assert of_report <= members(StatusReport)
    assert of_target
    assert of_target <= members(TargetReport)
    assert of_each
    assert of_each <= of_rows | {"count"}


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_script_is_javascript() -> None:
    node = shutil.which("node")
    assert node is not None
    subprocess.run([node, "--check", "-"], input=SCRIPT.encode(), check=True)


async def test_as_a_browser_gets_it() -> None:
    async with running([Endpoint("127.0.0.1", 9)]) as daemon:
        answer = await asked(daemon.admin.address, "GET /")

    assert answer.status == 200
    assert answer.content == PAGE
    assert answer.fields["content-type"] == "text/html; charset=utf-8"
    assert answer.fields["content-security-policy"] == POLICY.decode().lower()
