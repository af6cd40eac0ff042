"""Tells a dead server from a slow one by what the kernel saw on the connection. (machine follows)"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TcpInfo"]


@dataclass(frozen=True, slots=True)
class TcpInfo:
    """What the kernel knows of a connection, from TCP_INFO (linux/tcp.h), in seconds and counts."""

    unacked: int
    """Segments sent and not acknowledged."""
    retransmits: int
    """Unanswered retransmission time-outs in a row."""
    probes: int
    """Unanswered probes in a row (keep-alive or window)."""
    segs_in: int
    """Segments that came in since the connection began: the sign of life that is counted."""
    notsent_bytes: int
    rtt: float
    rttvar: float
    last_received: float
    """Seconds since the last segment with data or an acknowledgement came in."""
