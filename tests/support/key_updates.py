"""A TLS 1.3 client that asks for new keys as often as it likes, which the ssl module offers nobody.

A connection is opened by the ssl module, which writes its secrets to a key log; from there on records are made here
(RFC 8446, sections 5.2, 7.1, 7.2 and 7.3), for the suite that both ends prefer: TLS_AES_256_GCM_SHA384.
"""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["SUITE", "KeyUpdater", "client_secret"]

SUITE = "TLS_AES_256_GCM_SHA384"

HANDSHAKE, APPLICATION_DATA = b"\x16", b"\x17"


def client_secret(key_log: Path) -> bytes:
    """The client's first secret behind the handshake, of the last connection in the log."""
    [*_, line] = [
        each
        for each in key_log.read_text().splitlines()
        if each.startswith("CLIENT_TRAFFIC_SECRET_0")
    ]
    return bytes.fromhex(line.split()[2])


def expand(secret: bytes, label: str, size: int) -> bytes:
    """HKDF-Expand-Label, without context, of at most one block."""
    name = b"tls13 " + label.encode()
    info = size.to_bytes(2, "big") + bytes([len(name)]) + name + b"\0"
    return hmac.digest(secret, info + b"\1", hashlib.sha384)[:size]


class KeyUpdater:
    """What a client sends next."""

    def __init__(self, secret: bytes) -> None:
        self._use(secret)

    def _use(self, secret: bytes) -> None:
        self._secret = secret
        self._key, self._iv = AESGCM(expand(secret, "key", 32)), expand(secret, "iv", 12)
        self._number = 0

    def record(self, content: bytes, kind: bytes = APPLICATION_DATA) -> bytes:
        """One record, encrypted."""
        head = b"\x17\x03\x03" + (len(content) + 17).to_bytes(2, "big")
        nonce = (int.from_bytes(self._iv, "big") ^ self._number).to_bytes(12, "big")
        self._number += 1
        return head + self._key.encrypt(nonce, content + kind, head)

    def key_updates(self, count: int, *, wants_one_too: bool = False) -> bytes:
        """So many KeyUpdates."""
        message = b"\x18\0\0\1" + (b"\1" if wants_one_too else b"\0")
        data = b""
        for _ in range(count):
            data += self.record(message, HANDSHAKE)
            self._use(expand(self._secret, "traffic upd", 48))
        return data
