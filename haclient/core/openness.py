"""Whether a door lets in others than this machine's programs, with nobody asked who he is.

The naive check looks at the `bind` that stands in the file, and takes the administrator's word for a socket that
systemd hands over (`systemd:NAME`): his unit may say `ListenStream=8080`, which is every address there is. So
the one rule here is about where a socket is bound. Of most doors the file says that, and `haclient check` tells; of an
inherited one the socket itself does, at the start and at a reload.

Left out: the address that a firewall, or another machine, leads here.
"""

from __future__ import annotations

import msgspec

from haclient.core.config import AuthSettings, Bind, DoorTls, Mode, TcpBind

__all__ = ["Openness", "asks_in_tls", "openness"]


class Openness(msgspec.Struct, frozen=True):
    """What is wrong, and what would do."""

    problem: str
    wanted: str


def asks_in_tls(tls: DoorTls | None, auth: AuthSettings | None) -> bool:
    """Whether whoever comes is asked for a certificate or a password, and nobody on the way can read it."""
    return tls is not None and (tls.client_ca_file is not None or auth is not None)


def openness(
    place: Bind,
    *,
    asks: bool,
    has_auth: bool,
    is_public: bool,
    mode: Mode | None = Mode.REVERSE,
    is_inherited: bool = False,
) -> Openness | None:
    """What is wrong with a door that others than this machine can reach; None where nothing is.

    Args:
        place: where it is bound.
        asks: what `asks_in_tls` says of it.
        has_auth: whether it asks for passwords, in TLS or not.
        is_public: whether the file says that it is meant.
        mode: what kind of door it is, as far as that is known.
        is_inherited: whether a unit says where it is bound.
    """
    if not isinstance(place, TcpBind) or place.is_local or is_public or asks:
        return None
    local = f"127.0.0.1:{place.port}"
    bind = f"ListenStream={local} in its unit" if is_inherited else f'bind = "{local}"'
    if has_auth:
        return Openness(
            "passwords would cross the network as they are",
            f"write tls, {bind}, or public = true if something else encrypts",
        )
    ways = (
        "client_ca_file in tls" if mode is Mode.TCP else "client_ca_file in tls, or auth with tls"
    )
    return Openness(
        "others on the network can use it, and nobody is asked who he is",
        f"write {bind}, or {ways}, or public = true if that is meant",
    )
