"""The tutorial and the pages of docs/examples, each walked from its first block to its last: files, commands, what they print, how long it takes.

Nothing of them stands here: a page that is changed is another test.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.support.command import needs_command
from tests.support.walk import DOCS, PATH, Walk

pytestmark = needs_command

PAGES = sorted(path.stem for path in (DOCS / "examples").glob("*.md"))

SYSTEMS = {"datasnap", "vaadin", "diffusion", "grijjy", "high-availability-http"}

PROGRAMS = ("curl", "dnsmasq", "openssl", "redis-server", "ss")
"""What some page takes beside haclient and Python."""


def test_each_system_has_its_page() -> None:
    assert set(PAGES) >= SYSTEMS


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", ["tutorial", *(f"examples/{name}" for name in PAGES)])
def test_the_page_is_right(name: str, tmp_path: Path) -> None:
    walk = Walk(tmp_path, f"{name}.md")
    for program in PROGRAMS:
        if any(program in step.text for step in walk.steps) and not shutil.which(
            program, path=PATH
        ):
            pytest.skip(f"{program} is not installed")
    walk.go()

    assert any(step.printed for step in walk.steps)


@pytest.mark.parametrize("name", PAGES)
def test_it_begins_with_what_its_reader_has(name: str) -> None:
    """A table of his words and ours, before anything is to be typed."""
    page = (DOCS / "examples" / f"{name}.md").read_text(encoding="utf-8")
    rows = [line for line in page.partition("```")[0].splitlines() if line.startswith("| ")]

    assert len(rows) >= 5
    assert all(line.count("|") == 3 for line in rows)
