"""What `haclient explain` found out, as text for a person and as JSON for a program."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from haclient.core.keepalive import Plan, Refusal
from haclient.core.spec import Target
from haclient.ops.explain_race import Certificate, Name, Tried
from haclient.ops.explain_resend import Case, Resend
from haclient.ops.style import Colour, Sign, Style, printable
from haclient.ops.trace import milliseconds
from haclient.ops.window_text import finite, plan_json
from haclient.types import Order

__all__ = ["Explanation", "as_json", "lines"]

SOON = 14
"""Days. A certificate with less left is worth a warning; the usual automatic renewal has 30."""

ORDERS = {
    Order.FASTEST: "all at once, the first to be usable serves",
    Order.LISTED: "one after the other, as listed",
    Order.SHUFFLED: "one after the other, in a fresh order for each request",
}


class Explanation(msgspec.Struct, frozen=True):
    """All that was found out."""

    target: Target
    names: tuple[Name, ...]
    tried: tuple[Tried, ...]
    """In the order in which they would start; the backups after all others."""
    winner: Tried | None
    plan: Plan | Refusal
    rtt: float
    """Seconds; the slowest usable address's, which the plan was reckoned with."""
    resends: tuple[Resend, ...]
    proxy: str = ""
    """The host of a proxy that the environment names for the first URL; empty: none."""


# --- for a person ---------------------------------------------------------------------------------


def lines(found: Explanation, style: Style) -> Iterator[str]:
    """The explanation, line by line."""
    yield from _addresses(found, style)
    yield ""
    yield from _race(found, style)
    yield ""
    yield from _plan(found, style)
    yield ""
    yield from _resend_table(found, style)
    if found.proxy:
        yield ""
        text = f"the environment names a proxy, {found.proxy}: a request would go through it, "
        yield _marked(style, Sign.WARNING, Colour.YELLOW, text + "and this is the way without it")


def _heading(style: Style, text: str, note: str = "") -> str:
    return style.paint(text, Colour.BOLD) + (style.paint(f"  {note}", Colour.DIM) if note else "")


def _marked(style: Style, sign: Sign, colour: Colour, text: str) -> str:
    return f"  {style.paint(style.sign(sign), Colour.BOLD, colour)} {text}"


def _addresses(found: Explanation, style: Style) -> Iterator[str]:
    yield _heading(style, "addresses")
    for name in found.names:
        backup = " (backup)" if name.is_backup else ""
        where = f"{name.url.origin}{backup}"
        if name.resolution is None:
            yield _marked(style, Sign.FAILED, Colour.RED, f"{where}: {printable(str(name.error))}")
            continue
        answer = name.resolution
        source = f"{answer.source} {answer.server}".strip()
        ttl = f", TTL {answer.ttl:.0f} s" if answer.ttl is not None else ""
        addresses = ", ".join(endpoint.address for endpoint in answer.endpoints)
        took = f", {milliseconds(name.took)}" if answer.source == "dns" else ""
        yield _marked(
            style, Sign.DONE, Colour.GREEN, f"{where} is {addresses} ({source}{ttl}{took})"
        )


def _race(found: Explanation, style: Style) -> Iterator[str]:
    order = found.target.order
    yield _heading(style, "race", f"order {order.value}: {ORDERS[order]}")
    width = max((len(str(one.endpoint)) for one in found.tried), default=0)
    for one in found.tried:
        where = f"{one.endpoint!s:<{width}}"
        if not one.is_usable:
            yield _marked(style, Sign.FAILED, Colour.RED, f"{where}  {_failure(one)}")
            continue
        assert one.connect_time is not None
        text = f"{where}  connected in {milliseconds(one.connect_time)}"
        if one.tls:
            text += f", TLS after {milliseconds(one.total_time)}: {one.tls}"
        if one is found.winner:
            text += style.paint("  would serve", Colour.BOLD, Colour.GREEN)
        yield _marked(style, Sign.DONE, Colour.GREEN, text)
        if one.certificate is not None:
            yield _certificate(one.certificate, style)
    if found.winner is None:
        yield _marked(style, Sign.FAILED, Colour.RED, "no address would serve")


def _failure(one: Tried) -> str:
    attempt = one.attempt
    failure = attempt.failure.value if attempt.failure is not None else "failed"
    detail = f" ({attempt.detail})" if attempt.detail else ""
    return printable(f"{failure} after {milliseconds(one.total_time)}{detail}")


def _certificate(certificate: Certificate, style: Style) -> str:
    days = certificate.days_left
    text = printable(
        f"    certificate {certificate.subject}, by {certificate.issuer}, "
        f"until {certificate.expires_at:%Y-%m-%d} ({days} days)"
    )
    return style.paint(text, Colour.YELLOW if days < SOON else Colour.DIM)


def _plan(found: Explanation, style: Style) -> Iterator[str]:
    rtt = f"round trip {milliseconds(found.rtt)}" if found.rtt else ""
    yield _heading(style, "plan", rtt)
    if isinstance(found.plan, Refusal):
        for line in found.plan.explain():
            yield _marked(style, Sign.FAILED, Colour.RED, line)
        return
    head, *phases = found.plan.explain()
    yield _marked(style, Sign.DONE, Colour.GREEN, head)
    for phase in phases:
        yield f"    {phase}"


def _count(found: Explanation) -> int:
    return len({one.endpoint for one in found.tried})


def _resend_table(found: Explanation, style: Style) -> Iterator[str]:
    count = _count(found)
    note = f"{count} addresses" if count > 1 else "nobody else to ask: name a --backup"
    yield _heading(style, "resend", note)
    if not found.resends:
        yield "  never: in TCP mode what a server was sent is that server's; its client connects anew"
        return
    names = max(len(resend.name) for resend in found.resends)
    heads = "  ".join(case.value for case in Case)
    yield style.paint(f"  {'':<{names}}  {heads}", Colour.DIM)
    for resend in found.resends:
        cells = [
            style.paint(
                ("yes" if is_resent else "no").ljust(len(case.value)),
                Colour.GREEN if is_resent else Colour.YELLOW,
            )
            for case, is_resent in resend.cases.items()
        ]
        yield f"  {resend.name:<{names}}  {'  '.join(cells)}".rstrip()
    for line in _legend(found):
        yield style.paint(f"  {line}", Colour.DIM)


def _legend(found: Explanation) -> Iterator[str]:
    target = found.target
    statuses = ", ".join(str(status) for status in sorted(target.failover_statuses))
    yield "not sent: its connection was gone before the first byte"
    yield "suspect: it misses a sign of life; sent beside the first one, whichever answers first"
    yield "dead: that is proved; closed: the server ended the connection; sent after the first one"
    yield f"503: the answer was one of {statuses or 'none'}"
    yield f"too slow: alive, and silent for {target.response_timeout:g} s"
    if _count(found) < 2:
        yield (
            "with one address: once dead, it is asked again over a new connection, for the path may be"
            " what died; once it closed a new connection, it is not, for it would do so again"
        )
    reasons = dict.fromkeys(resend.why_not for resend in found.resends if resend.why_not)
    yield from (f"no: {reason}" for reason in reasons)


# --- for a program --------------------------------------------------------------------------------


def as_json(found: Explanation) -> dict[str, Any]:
    """Seconds throughout; null: not known, or not bounded."""
    return {
        "names": [_name_json(name) for name in found.names],
        "race": [_tried_json(one) for one in found.tried],
        "serves": str(found.winner.endpoint) if found.winner is not None else None,
        "plan": plan_json(found.plan),
        "resend": {
            resend.name: {case.name.lower(): is_resent for case, is_resent in resend.cases.items()}
            for resend in found.resends
        },
    }


def _name_json(name: Name) -> dict[str, Any]:
    answer = name.resolution
    return {
        "origin": str(name.url.origin),
        "backup": name.is_backup,
        "addresses": [endpoint.address for endpoint in name.endpoints],
        "source": answer.source if answer is not None else None,
        "server": answer.server if answer is not None else None,
        "ttl": answer.ttl if answer is not None else None,
        "error": str(name.error) if name.error is not None else None,
    }


def _tried_json(one: Tried) -> dict[str, Any]:
    certificate = one.certificate
    return {
        "address": str(one.endpoint),
        "origin": str(one.origin),
        "connected_in": finite(one.connect_time),
        "usable_in": finite(one.total_time) if one.is_usable else None,
        "failure": one.attempt.failure.name.lower() if one.attempt.failure is not None else None,
        "detail": one.attempt.detail,
        "tls": one.tls,
        "certificate": None
        if certificate is None
        else {
            "subject": certificate.subject,
            "issuer": certificate.issuer,
            "expires_at": certificate.expires_at.isoformat(),
        },
    }
