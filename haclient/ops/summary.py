"""From what is known of a transfer to what -w can print of it."""

from __future__ import annotations

from contextlib import suppress

from haclient.core.url import Url
from haclient.errors import UrlError
from haclient.ops.meter import Meter
from haclient.ops.write_out import Times, Transfer
from haclient.types import Instant

__all__ = ["summarize"]


def summarize(
    meter: Meter,
    word: str,
    number: int,
    ended_at: Instant,
    *,
    exit_code: int = 0,
    error_message: str = "",
) -> Transfer:
    """Returns all that -w may ask for.

    Args:
        meter: of the transfer that is over.
        word: the URL as it was given.
        number: which of the command line's, from 0.
        ended_at: an instant on the meter's clock.
        exit_code: of this transfer.
        error_message: without program and number; empty where it went well.
    """
    response, output, attempts = meter.response, meter.output, tuple(meter.attempts)
    # The numbers of attempts begin again with each request of a row of redirects.
    firsts = [i for i, one in enumerate(attempts) if one.number == 1]
    return Transfer(
        url=word,
        url_effective=str(meter.url or word),
        method=meter.method,
        exit_code=exit_code,
        error_message=error_message,
        http_code=response.status if response is not None else 0,
        http_version=response.http_version if response is not None else "0",
        scheme=meter.url.origin.scheme if meter.url is not None and attempts else "",
        content_type=response.headers.get("content-type", "") if response is not None else "",
        redirect_url=_joined(meter.url, meter.location),
        referer=meter.referer.decode("latin-1"),
        filename=output.path or "" if output is not None else "",
        fields=response.fields if response is not None else (),
        times=Times.of(
            attempts[firsts[-1] :] if firsts else (),
            meter.started_at,
            ended_at,
            redirected_at=meter.redirected_at,
        ),
        size_download=output.written if output is not None else 0,
        size_upload=meter.content_bytes_sent,
        size_header=meter.head_bytes_received,
        size_request=meter.head_bytes_sent,
        remote=meter.remote,
        local=meter.local,
        num_connects=meter.connects,
        num_redirects=meter.redirects,
        num_retries=len(attempts) - len(firsts),
        urlnum=number,
        attempts=attempts,
    )


def _joined(url: Url | None, location: str) -> str:
    """Where a Location leads; as the server wrote it where that is no URL."""
    if url is not None and location:
        with suppress(UrlError):
            return str(url.join(location))
    return location
