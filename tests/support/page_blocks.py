"""A page of docs/ as the steps that its reader takes: files to write, commands, what they print.

Everything that stands in a fence is a step, or belongs to one; a comment in front of the fence, which no reader sees,
says how:

    <!-- file NAME -->              the block is the content of that file
    <!-- terminal NAME; says W -->  sh: the command is started in a terminal of its own, and has said W
                                    text: it is typed there, once what is waited for has reached that terminal
                                    (NAME is "whoever": in the one that it has reached)
    <!-- ctrl-c NAME -->            stands alone: that terminal's program ends, by SIGINT and the end of its input
    <!-- again NAME -->             stands alone: the same command is started there again
    <!-- shows NAME -->             text: that terminal has printed it, since the last such block
    <!-- waits -->                  sh: it does not end yet; the text block that shows its output stands further down
    <!-- eventually -->             sh: repeated until it prints what stands below it
    <!-- takes 1-4 -->              with any of these: seconds since the step before it

An sh block without a comment is run to its end; the block of text or JSON right below it is what it prints. In
that, "…" stands for anything, and a figure in s or ms for any other: how long a step may take is said by `takes`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["Step", "matches", "pattern", "ports", "steps"]

PIECE = re.compile(
    r"^(?:<!-- (?P<words>[^>]*) -->\n)?```(?P<language>\w*)\n(?P<text>.*?)^```$"
    r"|^<!-- (?P<alone>[^>]*) -->$",
    re.MULTILINE | re.DOTALL,
)

OUTPUT = ("text", "json")
ALONE = ("ctrl-c", "again")
WORDS = ("file", "terminal", "says", "ctrl-c", "again", "shows", "waits", "eventually", "takes")


@dataclass
class Step:
    """One thing that the reader does.

    Attributes:
        line: of the page.
        language: of the block; empty where there is none.
        words: what the comment says.
        printed: what stands below it as its output.
    """

    line: int
    language: str
    text: str
    words: Mapping[str, str] = field(default_factory=dict)
    printed: str | None = None

    def __str__(self) -> str:
        first = self.text.partition("\n")[0] or " ".join(map(" ".join, self.words.items()))
        return f"line {self.line}: {first}"

    @property
    def seconds(self) -> tuple[float, float] | None:
        """How long it may take."""
        if "takes" not in self.words:
            return None
        least, most = self.words["takes"].split("-")
        return float(least), float(most)


def steps(page: str) -> list[Step]:
    """All of them, in order.

    Raises:
        ValueError: a block or a comment that says nothing to whoever runs the page.
    """
    found: list[Step] = []
    end = 0
    for piece in PIECE.finditer(page):
        step = _step(page, piece)
        is_below = not page[end : piece.start()].strip()
        if step.language in OUTPUT and found and is_below and _is_output_of(step, found[-1]):
            found[-1].printed = step.text
        elif _is_known(step):
            found.append(step)
        else:
            raise ValueError(f"{step}: nothing says what this block is for")
        end = piece.end()
    return found


def _step(page: str, piece: re.Match[str]) -> Step:
    line = page.count("\n", 0, piece.start()) + 1
    words = _words(piece["words"] or piece["alone"] or "", line)
    return Step(line, piece["language"] or "", piece["text"] or "", words)


def _words(comment: str, line: int) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in filter(None, map(str.strip, comment.split(";"))):
        word, _, value = part.partition(" ")
        if word not in WORDS:
            raise ValueError(f"line {line}: {word!r} is none of {', '.join(WORDS)}")
        found[word] = value
    return found


def _is_output_of(step: Step, above: Step) -> bool:
    return (
        not step.words and above.language == "sh" and not above.words.keys() & {"waits", "terminal"}
    )


def _is_known(step: Step) -> bool:
    if not step.language:
        return any(word in step.words for word in ALONE)
    if step.language == "sh":
        return "file" not in step.words
    # Text with no word of its own is the output of what waits.
    return step.language in OUTPUT or "file" in step.words


def matches(expected: str, printed: str) -> bool:
    """Whether `printed` is what the page shows."""
    lines = [line.rstrip() for line in printed.strip("\n").splitlines()]
    return re.fullmatch(pattern(expected), "\n".join(lines)) is not None


def pattern(expected: str) -> str:
    """A regular expression for what the page shows; a line that is "…" alone is any lines, one at least."""
    return "\n".join(_line(line.rstrip()) for line in expected.strip("\n").splitlines())


def _line(line: str) -> str:
    if line == "…":
        return r"[\s\S]*?"
    return ".*".join(_figures(part) for part in line.split("…"))


def _figures(text: str) -> str:
    pieces = re.split(r"(?<![\w.:])\d+(?:\.\d+)?(?= ?m?s\b)", text)
    return r"\d+(?:\.\d+)?".join(map(re.escape, pieces))


def ports(page: str) -> list[str]:
    """The ports of loopback addresses that a page uses, each once."""
    return sorted(set(re.findall(r"\b127\.0\.0\.\d+[: ](\d{4,5})\b", page)))
