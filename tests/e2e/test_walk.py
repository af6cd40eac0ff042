"""Whoever walks a page notices when it is wrong: each page here has one thing that does not hold."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.page_blocks import matches, ports, steps
from tests.support.walk import Walk

RIGHT = """\
A file, and what a command makes of it:

<!-- file greeting -->
```text
good morning
```

<!-- terminal cat; says ready -->
```sh
echo ready; while read line; do echo "ran $line"; echo done; done; echo bye
```

```sh
cat greeting; echo 127.0.0.1:8080 after 1.5 s
```

```text
good …
127.0.0.1:8080 after 3 s
```

Typed in the terminal:

<!-- terminal cat -->
```text
one
two
```

<!-- shows cat -->
```text
ran one
…
ran two
```

<!-- ctrl-c cat -->

<!-- waits -->
```sh
sleep 0.3; echo late
```

<!-- again cat -->

<!-- takes 0-2 -->
```text
late
```

<!-- eventually; takes 0.1-5 -->
```sh
echo x >> count; wc -l < count
```

```text
3
```
"""

WRONG = {
    "what a command prints": ("good …\n", "bad …\n", "printed"),
    "what it prints at the end": ("after 3 s\n", "after 3 s\nmore\n", "printed"),
    "what a terminal shows": ("ran two\n```", "ran three\n```", "does not show this"),
    "that a program starts": ("says ready", "says steady", "does not say 'steady'"),
    "how long it takes": ("takes 0-2", "takes 5-9", "took 0."),
    "that it comes about": ("```text\n3\n", "```text\n0\n", "still prints"),
    "that something waits": ("<!-- waits -->\n", "", "no command waits for this"),
}


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.walk.PATIENCE", 3.0)


def test_a_right_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(RIGHT)

    Walk(tmp_path, str(page)).go()

    assert (tmp_path / "count").read_text() == "x\nx\nx\n"


@pytest.mark.parametrize(("right", "wrong", "said"), WRONG.values(), ids=WRONG)
def test_a_wrong_page(right: str, wrong: str, said: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    assert right in RIGHT
    page.write_text(RIGHT.replace(right, wrong))

    with pytest.raises(AssertionError, match=said):
        Walk(tmp_path, str(page)).go()


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("<!-- terminol a -->\n```sh\ntrue\n```\n", "'terminol' is none of file, "),
        ("```python\nprint()\n```\n", "line 1: print.*: nothing says what this block is for"),
        ("<!-- shows a -->\n", "nothing says what this block is for"),
    ],
)
def test_a_page_that_cannot_be_walked(page: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        steps(page)


def test_the_output_stands_right_below_its_command() -> None:
    command, output = "```sh\ntrue\n```\n", "```text\nfine\n```\n"

    (one,) = steps(f"{command}\n{output}")
    assert one.printed == "fine\n"
    assert [each.printed for each in steps(f"{command}\nMuch later:\n\n{output}")] == [None, None]


@pytest.mark.parametrize(
    ("expected", "printed"),
    [
        ("a … c", "a b c\n"),
        ("after 1.50 s, 20 ms", "after 12 s, 3.25 ms"),
        ("a\n…\nb", "a\nx\ny\nb"),
        ("  a", "  a  \n\n"),
        ("HTTP/1.1 200 OK\n…", "HTTP/1.1 200 OK\nx\n\ny"),
    ],
)
def test_what_is_the_same(expected: str, printed: str) -> None:
    assert matches(expected, printed)


@pytest.mark.parametrize(
    ("expected", "printed"),
    [
        ("a … c", "a b d"),
        ("a … c", "a\nc"),
        ("  a", "a"),
        ("HTTP/1.1 200 OK", "HTTP/1.1 502 OK"),
        ("127.0.0.2: 3 sessions", "127.0.0.3: 3 sessions"),
        ("a", "a\nb"),
    ],
)
def test_what_is_not(expected: str, printed: str) -> None:
    assert not matches(expected, printed)


def test_which_numbers_are_ports() -> None:
    page = "127.0.0.1:8080 127.0.0.2 8081 http://127.0.0.3:8080/ 1234 a:8443 127.0.0.1:80"
    assert ports(page) == ["8080", "8081"]
