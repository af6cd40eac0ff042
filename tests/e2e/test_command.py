"""The installed command as its user meets it: on a terminal, in a pipe, with a trace.

What curl does as well is compared with it in test_curl_parity.py; when servers die is the matter of
test_command_failover.py, and what goes wrong that of test_bad_input.py.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from subprocess import PIPE

import pytest

from tests.support.command import COMMAND, haclient, needs_command
from tests.support.stage import Stage
from tests.support.terminal import Shown, on_terminal

pytestmark = needs_command

ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class TestOnATerminal:
    def shown(self, stage: Stage, row: str, folder: Path, **how: object) -> Shown:
        words = [COMMAND, "request", *stage.words_of(row)]
        return on_terminal(words, cwd=folder, **how)  # type: ignore[arg-type]

    def test_text_is_shown(self, stage: Stage, tmp_path: Path) -> None:
        ran = self.shown(stage, "URL/", tmp_path)

        assert (ran.returncode, ran.terminal) == (0, "some content")

    def test_binary_is_not(self, stage: Stage, tmp_path: Path) -> None:
        ran = self.shown(stage, "URL/binary", tmp_path)

        assert ran.returncode == 23
        assert "\0" not in ran.terminal
        assert ran.terminal.count("\n") == 1
        assert "save it with -o FILE, or insist with -o -" in ran.terminal

    def test_unless_somebody_insists(self, stage: Stage, tmp_path: Path) -> None:
        ran = self.shown(stage, "-o - URL/binary", tmp_path)

        assert (ran.returncode, ran.terminal) == (0, "\x7fE\0LF")

    def test_and_goes_into_a_pipe_as_it_is(self, stage: Stage, tmp_path: Path) -> None:
        ran = self.shown(stage, "URL/binary", tmp_path, stdout=PIPE)

        assert (ran.returncode, ran.stdout, ran.terminal) == (0, b"\x7fE\0LF", "")

    def test_a_password_is_asked_for(self, stage: Stage, tmp_path: Path) -> None:
        stage.sent()
        ran = self.shown(stage, "-u me -o x URL/", tmp_path, replies={"Password of me: ": "secret"})

        [[(head, _)], *_] = stage.sent()
        assert ran.returncode == 0
        assert "Password of me: " in ran.terminal
        assert "secret" not in ran.terminal
        assert b"\r\nAuthorization: Basic bWU6c2VjcmV0\r\n" in head

    def test_what_takes_long_has_a_bar(self, stage: Stage, tmp_path: Path) -> None:
        ran = self.shown(stage, "-o big.bin URL/drip/5/300", tmp_path)

        lines = ESCAPE.sub("", ran.terminal).split("\r")
        assert ran.returncode == 0
        assert (tmp_path / "big.bin").stat().st_size == 5000
        assert all(line.startswith("big.bin ") for line in lines if line.strip())
        assert "5.0/5.0 kB" in lines[-2]
        # The kilobytes of the first second are there when it first shows.
        assert re.search(r"[34]\.0/5\.0 kB", lines[1])

    def test_waiting_is_long_too(self, stage: Stage, tmp_path: Path) -> None:
        ran = self.shown(stage, "URL/think/1300", tmp_path, stdout=PIPE)

        assert (ran.returncode, ran.stdout) == (0, b"some content")
        assert "127.0.0.1 " in ran.terminal
        assert "12/12 bytes" in ran.terminal

    def test_an_error_stands_below_the_bar(self, stage: Stage, tmp_path: Path) -> None:
        ran = self.shown(stage, "-o x -m 1.3 URL/stall", tmp_path)

        assert ran.returncode == 28
        assert ESCAPE.sub("", ran.terminal).splitlines()[-1].startswith("haclient: (28) ")
        assert ran.terminal.index("\x1b[?25h") < ran.terminal.index(
            "haclient: "
        )  # the cursor is back

    @pytest.mark.parametrize(
        "row",
        [
            "-o big.bin URL/drip/2/10",
            "-s -o big.bin URL/drip/3/500",
            "--no-progress-meter -o big.bin URL/drip/3/500",
            "URL/drip/3/500",
        ],
        ids=["what is quick", "-s", "--no-progress-meter", "what is written there itself"],
    )
    def test_has_no_bar(self, row: str, stage: Stage, tmp_path: Path) -> None:
        ran = self.shown(stage, row, tmp_path)

        assert (ran.returncode, ran.terminal.strip("x")) == (0, "")

    @pytest.mark.parametrize("option", ["-v", "--trace"])
    def test_a_bar_does_not_mix_with_other_lines(
        self, option: str, stage: Stage, tmp_path: Path
    ) -> None:
        ran = self.shown(stage, f"{option} -o big.bin URL/drip/3/500", tmp_path)

        assert ran.returncode == 0
        assert "\x1b[?25l" not in ran.terminal

    def test_a_bar_from_the_start(self, stage: Stage, tmp_path: Path) -> None:
        ran = self.shown(stage, "-# -o big.bin URL/drip/2/10", tmp_path)

        assert ran.returncode == 0
        assert "2.0/2.0 kB" in ran.terminal

    @pytest.mark.parametrize("option", ["--trace", "-# -o x"])
    def test_colours(self, option: str, stage: Stage, tmp_path: Path) -> None:
        coloured = self.shown(stage, f"{option} URL/", tmp_path)
        plain = self.shown(stage, f"{option} URL/", tmp_path, variables={"NO_COLOR": "1"})

        assert re.search(r"\x1b\[[0-9;]*3[0-9]", coloured.terminal)
        assert not re.search(r"\x1b\[[0-9;]*[34][0-9]", plain.terminal)


class TestTelling:
    def test_verbose_shows_what_passes_and_masks_credentials(self, stage: Stage) -> None:
        words = "-v -u me:secret -b token=secret -H 'X-Api-Key: secret' -d x URL/cookies"
        ran = haclient(["request", *stage.words_of(words)])

        lines = ran.stderr.decode().splitlines()
        assert (ran.returncode, ran.stdout) == (0, b"ok")
        assert "secret" not in ran.stderr.decode()
        for line in (
            f"* Trying 127.0.0.1:{stage.places['PORT']}...",
            "> POST /cookies HTTP/1.1",
            "> Authorization: (masked)",
            "> Cookie: (masked)",
            "> X-Api-Key: (masked)",
            "> Content-Length: 1",
            "> ",
            "< HTTP/1.1 200 OK",
            "< Set-Cookie: (masked)",
            "< ",
        ):
            assert line in lines

    def test_verbose_shows_what_a_server_sends_without_obeying_it(self, stage: Stage) -> None:
        ran = haclient(["request", "-v", f"{stage.places['URL']}/escape"])

        assert ran.returncode == 0
        assert b"\x9b" not in ran.stderr
        assert b"< X-A: \\x9b31mred" in ran.stderr

    def test_a_trace_in_a_pipe_is_plain(self, stage: Stage) -> None:
        ran = haclient(["request", "--trace", f"{stage.places['URL']}/orders/7"])

        lines = ran.stderr.decode().splitlines()
        assert (ran.returncode, ran.stdout) == (0, b"some content")
        assert "\x1b" not in ran.stderr.decode()
        assert all(re.match(r" +[0-9]+\.[0-9]{3}  [1 ] . ", line) for line in lines)
        assert "GET /orders/7 sent" in ran.stderr.decode()
        assert re.search(r"200 from 127\.0\.0\.1:[0-9]+ after", lines[-1])

    def test_a_trace_where_there_is_only_ascii_has_only_ascii(self, stage: Stage) -> None:
        variables = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
        ran = haclient(["request", "--trace", f"{stage.places['URL']}/"], variables=variables)

        assert ran.returncode == 0
        assert ran.stderr.isascii()
        assert b"\\u" not in ran.stderr

    def test_a_trace_in_json_has_an_object_a_line(self, stage: Stage, tmp_path: Path) -> None:
        row = "--trace-json trace -L -d x --resolve h.test:PORT:127.0.0.1 http://h.test:PORT/redirect/307"
        ran = haclient(["request", *stage.words_of(row)], cwd=tmp_path)

        events = [json.loads(line) for line in (tmp_path / "trace").read_text().splitlines()]
        names = [event["event"] for event in events]
        assert (ran.returncode, ran.stderr) == (0, b"")
        assert [event["t"] for event in events] == sorted(event["t"] for event in events)
        assert names.count("exchange_ended") == 2
        assert names[:2] == ["attempt_started", "name_resolved"]
        sent = [event for event in events if event["event"] == "request_sent"]
        assert [(one["method"], one["target"]) for one in sent] == [
            ("POST", "/redirect/307"),
            ("POST", "/there"),
        ]

    def test_a_trace_in_json_on_stderr(self, stage: Stage) -> None:
        ran = haclient(["request", "--trace-json", "-", "http://" + stage.places["CLOSED"]])

        *events, line = ran.stderr.decode().splitlines()
        assert ran.returncode == 7
        assert json.loads(events[-1])["error"] == "ConnectError"
        assert line.startswith("haclient: (7) ")

    def test_a_trace_for_which_there_is_no_room_does_not_harm_the_answer(
        self, stage: Stage
    ) -> None:
        ran = haclient(["request", "--trace-json", "/dev/full", f"{stage.places['URL']}/"])

        assert (ran.returncode, ran.stdout, ran.stderr) == (0, b"some content", b"")

    def test_all_that_is_known_as_json(self, stage: Stage) -> None:
        ran = haclient(["request", "-w", "%{json}", "-o", "/dev/null", f"{stage.places['URL']}/"])

        told = json.loads(ran.stdout)
        assert (told["http_code"], told["exitcode"], told["failover_time"]) == (200, 0, 0.0)
        [attempt] = told["attempts"]
        assert attempt["verdict"] == "answered"
        assert 0 < told["time_connect"] <= told["time_starttransfer"] <= told["time_total"]
