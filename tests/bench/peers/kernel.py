"""What can be asked of the kernel for a whole machine, in place of a proxy's own options.

net.ipv4.tcp_retries2 = 2 gives a connection with unacknowledged data up after about 3 s; with 3, as
high-availability advice for databases has it, it takes 6.8 s (both measured here). It holds for
every connection of the machine, also over the worst of its paths, which is why 15 is the default.
"""

from __future__ import annotations

__all__ = ["KEEP_ALIVE", "KERNEL"]

KERNEL = ("net.ipv4.tcp_retries2=2",)

KEEP_ALIVE = (
    "net.ipv4.tcp_keepalive_time=1",
    "net.ipv4.tcp_keepalive_intvl=1",
    "net.ipv4.tcp_keepalive_probes=3",
)
"""For a program that can turn keep-alive on, but not set its times."""
