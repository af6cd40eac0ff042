"""A page of docs/ as the steps that its reader takes: files to write, commands, what they print.

Everything that stands in a fence is a step, or belongs to one; a comment in front of the fence, which no reader sees,
says how:

    <!-- file NAME -->              the block is the content of that file
    <!-- terminal NAME; says W -->  sh: the command is started in a terminal of its own, and has said W
                                    text: it is typed there, once what is waited for has reached that terminal
                                    (NAME is "whoever": in the one that it has reached)
    <!-- ctrl-c NAME -->            stands alone: that terminal's program ends, by SIGINT and the end of its input
    <!-- again NAME -->             stands alone: the same command is started there again
    <!-- type NAME WORDS -->        stands alone: what a sentence of the page says to type there, as above
    <!-- repeat -->                 stands alone: what a sentence says to wait for; the last `eventually` once more
    <!-- by hand -->                not walked: it installs something, or asks others than loopback
    <!-- shows NAME -->             text: that terminal has printed it, since the last such block
    <!-- waits -->                  sh: it does not end yet; the text block that shows its output stands further down
    <!-- eventually -->             sh: repeated until it prints what stands below it
    <!-- takes 1-4 -->              with any of these: seconds since the step before it

An sh block without a comment is run to its end; the block of text or JSON right below it is what it prints. In
that, "…" stands for anything; a figure in s, ms or bytes, a date, a time and an id for any other: how long a step may
take is said by `takes`.
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
ALONE = ("ctrl-c", "again", "type", "repeat")
WORDS = ("file", "terminal", "says", *ALONE, "by", "shows", "waits", "eventually", "takes")

FIGURE = r"\d+(?:\.\d+)?"
YOURS = {
    r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT": r"\w{3}, [\w: ]+ GMT",
    r"\b\d\d:\d\d:\d\d\b": r"\d\d:\d\d:\d\d",
    r"\b[0-9a-f]{32}\b": r"[0-9a-f]{32}",
    rf"(?<![\w.:]){FIGURE}(?= ?(?:m?s|bytes)\b)": FIGURE,
    rf'(?:(?<=ms=)|(?<=_ms": )){FIGURE}': FIGURE,
    r"^ +\d+\.\d{3}(?=  )": r" +\d+\.\d{3}",
}
"""What is another each time, and what it looks like: a date, a time, an id; a figure by its unit, or by its name; what
stands in front of a line of the trace."""


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
    either = re.compile("|".join(f"({each})" for each in YOURS))
    looks = list(YOURS.values())
    found, end = "", 0
    for figure in either.finditer(text):
        found += re.escape(text[end : figure.start()]) + looks[(figure.lastindex or 1) - 1]
        end = figure.end()
    return found + re.escape(text[end:])


def ports(page: str) -> list[str]:
    """The ports of loopback addresses that a page uses, each once."""
    return sorted(set(re.findall(r"\b127\.0\.0\.\d+[: ](\d{4,5})\b", page)))
