"""Every way of finding nothing has its error, and its advice; what else they say: test_resolver.py."""

from __future__ import annotations

import pytest

from haclient import errors
from haclient.core.dns_answer import RecordType
from haclient.core.lookup import NotFound, Reason
from haclient.net.resolve_errors import resolve_error
from haclient.types import Endpoint, Phase

PLACES = ("/etc/hosts", "[resolver] nameservers")


def outcome(reason: Reason) -> NotFound:
    return NotFound(reason, ("x.",), (RecordType.A,), (Endpoint("10.0.0.53", 53),))


@pytest.mark.parametrize("reason", Reason)
def test_each_reason_has_an_error_with_advice(reason: Reason) -> None:
    error = resolve_error("x", outcome(reason), None, PLACES)
    assert isinstance(error, errors.ResolveError)
    assert type(error) is not errors.ResolveError
    assert error.stage is Phase.RESOLVING
    assert str(error).startswith(
        f"cannot resolve x: {reason.value} (asked 10.0.0.53 for A of x.). "
    )
    assert "{" not in str(error)


def test_a_denial_from_the_cache_says_for_how_long_it_holds() -> None:
    error = resolve_error("x", outcome(Reason.NO_SUCH_NAME), 12.3, PLACES)
    assert "x.); remembered for another 12 s. Check the spelling" in str(error)


@pytest.mark.parametrize("reason", [Reason.SERVER_FAILURE, Reason.REFUSED, Reason.TIMED_OUT])
def test_other_name_servers_are_named_where_these_were(reason: Reason) -> None:
    error = resolve_error("x", outcome(reason), None, PLACES)
    assert str(error).endswith("or name another one in [resolver] nameservers")
