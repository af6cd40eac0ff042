"""`haclient check`: what it prints where, and how it exits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from haclient.ops.check import as_json, run, timers
from haclient.ops.command_line import CommandError
from haclient.ops.config_file import check_bytes
from haclient.ops.config_schema import schema
from haclient.ops.style import Style

GOOD = """
[target.orders]
urls = ["http://orders.internal:8080"]

[listener.orders]
bind = "127.0.0.1:8080"
target = "orders"
"""

TIGHT = GOOD.replace("]\n\n", ']\nfailover_window = "1s"\n\n')


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "haclient.toml"
    found.write_text(GOOD)
    return found


def test_a_file_in_order(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["-c", str(path)]) == 0

    out, err = capsys.readouterr()
    assert err == ""
    assert "target orders\n" in out
    assert "window 4 s, connect_timeout 1 s: kept, worst case 3.5 s; one exception, 4.36 s\n" in out
    assert "silent: suspect within 1.1 s, dead within 2.5 s, resent within 3.5 s\n" in out
    assert "alive and silent: given up after 40 s\n" in out
    assert "up to a round trip of 169 ms\n" in out
    assert out.endswith("in order: 1 target, 1 listener\n")


def test_a_target_of_another_protocol(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = GOOD.replace("http:", "tcp:").replace(
        "[listener.orders]", '[listener.orders]\nmode = "tcp"'
    )
    path.write_text(text)
    assert run(["-c", str(path)]) == 0
    out = capsys.readouterr().out
    assert "alive and silent: waited for; what a server was sent is never sent to another" in out
    assert as_json(check_bytes("f", text.encode()))["targets"]["orders"]["response_timeout"] is None


def test_a_forward_proxy(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (
        '[defaults]\nfailover_window = "5s"\n[listener.proxy]\nmode = "forward"\n'
        'bind = "127.0.0.1:3128"\nallow = ["*.internal:*", "10.0.0.0/8:443"]\n'
    )
    path.write_text(text)
    assert run(["-c", str(path)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("listener proxy, a forward proxy\n")
    assert "    may be used to reach: *.internal:*, 10.0.0.0/8:443\n" in out
    assert "window 5 s, connect_timeout 1 s: kept" in out
    assert out.endswith("in order: 0 targets, 1 listener\n")

    told = as_json(check_bytes("f", text.encode()))
    assert told["forward"]["proxy"]["allow"] == ["*.internal:*", "10.0.0.0/8:443"]
    assert told["forward"]["proxy"]["connect_timeout"] == 1.0


def test_one_mistake_and_several(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_text(GOOD + "[log]\nlevel = 1\n")
    assert run(["-c", str(path)]) == 78
    out, err = capsys.readouterr()
    assert err.startswith(f"{path}:9: [log] level = 1: one of")
    assert err.count("\n") == 1
    assert "in order" not in out

    path.write_text(GOOD + "[log]\nlevel = 1\nformat = 1\n")
    assert run(["-c", str(path)]) == 78
    assert capsys.readouterr().err.endswith("\n2 errors\n")


def test_a_warning_is_no_error(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_text('[target.other]\nurls = ["http://a.test"]\n' + GOOD)

    assert run(["-c", str(path)]) == 0
    out, err = capsys.readouterr()
    assert err.startswith(f"{path}:1: warning: [target.other]: no listener leads to it")
    assert out.endswith("in order: 2 targets, 1 listener\n")


def test_warnings_and_errors_are_in_the_order_of_the_file(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_text("[log]\nlevel = 1\n[target.b]\nurls = ['http://b.test']\nwindow = 4\n" + GOOD)

    assert run(["-c", str(path)]) == 78
    *lines, count = capsys.readouterr().err.splitlines()
    assert [line.removeprefix(f"{path}:").split(":")[0] for line in lines] == ["2", "3", "5"]
    assert count == "2 errors"


def test_a_file_without_a_door_is_refused_as_by_the_daemon(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path.write_text('[target.orders]\nurls = ["http://a.test"]\n')

    assert run(["-c", str(path)]) == 78
    out, err = capsys.readouterr()
    assert err == (
        f"haclient: (78) {path}: there is no [listener.NAME], so the daemon has no door to open; "
        "write one, with bind and target ('haclient request --target' needs none)\n"
    )
    assert "in order" not in out


def test_a_window_that_cannot_be_kept(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_text(TIGHT)

    assert run(["-c", str(path)]) == 78
    out, err = capsys.readouterr()
    sentence = "a window of 1 s cannot be kept: silent, a server is proved dead within 2.5 s, "
    assert f'{path}:4: [target.orders] failover_window = "1s": {sentence}' in err
    assert "the smallest is 3.5 s" in err
    assert sentence in out

    path.write_text(TIGHT.replace("1s", "3.5s"))
    assert run(["-c", str(path)]) == 0


def test_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["-c", str(tmp_path / "none")]) == 78

    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err == (
        f"haclient: (78) {tmp_path}/none: it cannot be read: No such file or directory; name the "
        "configuration file with --config\n"
    )


def printed(capsys: pytest.CaptureFixture[str]) -> Any:
    out, err = capsys.readouterr()
    assert err == ""
    return json.loads(out)


def test_json_of_a_file_in_order(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["-c", str(path), "--json"]) == 0

    found = printed(capsys)
    assert (found["ok"], found["errors"], found["warnings"]) == (True, [], [])
    orders = found["targets"]["orders"]
    assert (orders["window"], orders["kept"], orders["worst_case"]) == (4.0, True, 3.5)
    assert orders["phases"]["silent"] == {"suspect": 1.1, "dead": 2.5, "resent": 3.5}
    assert orders["largest_round_trip"] == 0.169
    assert (orders["connect_timeout"], orders["response_timeout"]) == (1.0, 40.0)


def test_json_of_mistakes(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path.write_text(TIGHT + "levl = 1\n[target.b]\nurls = ['http://b.test']\n[log]\nlevl = 1\n")

    assert run(["-c", str(path), "--json"]) == 78
    found = printed(capsys)
    assert found["ok"] is False
    assert [error["line"] for error in found["errors"]] == [4, 9, 13]
    assert found["errors"][2] == {
        "file": str(path),
        "line": 13,
        "table": "log",
        "key": "levl",
        "found": "1",
        "wanted": "unknown key",
        "nearest": "level",
    }
    assert [warning["line"] for warning in found["warnings"]] == [10]
    assert found["targets"]["orders"]["kept"] is False
    assert found["targets"]["orders"]["smallest"] == 3.5


def test_json_of_no_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["-c", str(tmp_path / "none"), "--json"]) == 78

    (error,) = printed(capsys)["errors"]
    assert (error["line"], error["table"]) == (0, "")


def test_the_schema_needs_no_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--schema"]) == 0
    assert printed(capsys) == schema()


def test_its_help_has_no_argument_without_a_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run(["--help"])
    out = capsys.readouterr().out
    assert "positional" not in out
    assert "--config FILE  the file to check (/etc/haclient/haclient.toml)" in out


def test_a_word_too_many() -> None:
    with pytest.raises(CommandError, match=r"what is 'haclient.toml'\? The file goes behind -c"):
        run(["haclient.toml"])


def test_signs_and_colours_are_the_terminals() -> None:
    lines = list(timers(check_bytes("f", GOOD.encode()), Style(is_coloured=True)))
    assert lines[0] == "\x1b[1mtarget orders\x1b[0m"
    assert lines[-1] == "\x1b[1;32m✔\x1b[0m in order: 1 target, 1 listener"

    plain = "\n".join(timers(check_bytes("f", TIGHT.encode()), Style(is_unicode=False)))
    assert plain.isascii()
    assert "  x a window of 1 s cannot be kept" in plain


def test_json_has_no_infinity() -> None:
    assert "inf" not in json.dumps(as_json(check_bytes("f", b""))).lower()
