"""Where TLS records end, so that a few at a time are worked off, and how many of them may say nothing.

OpenSSL reads on until it has something to say. A client that asks for new keys with every record (KeyUpdate, RFC 8446,
section 4.6.3) is worked for as long as such records are there: 2,400 of them in 64 KiB, in one call, in which the
event loop stands still; and there is no end of them. So what comes in is cut at the ends of records here (a header
says where the next one is, also of encrypted ones), and somebody else is let on between two cuts. A record of bulk has
16 KiB, so that 64 KiB of those are one piece as before.

Nor may a connection consist of them. To count those in a row is not enough: a byte of content after each 31 of them,
and it goes on for ever. So each with content makes up for itself and for one that has none.

Left out: what a record is. TLS 1.3 shows that to nobody but the other side; whether a piece had anything to
say is known afterwards.
"""

from __future__ import annotations

__all__ = ["AT_ONCE", "MOST_SILENT", "Records", "Silence"]

HEADER_BYTES = 5
"""Type, version and length (RFC 8446, section 5.1)."""

AT_ONCE = 32
"""Records of a piece. A KeyUpdate that wants one in return costs 5 to 10 us, so a piece of them 0.3 ms."""

MOST_SILENT = 32
"""Records without a byte of content that nothing makes up for, behind the handshake. In a row, BoringSSL ends a connection after as many
KeyUpdates, Go's crypto/tls after 16; a client needs one in 2 ** 24 records (RFC 8446, section 5.5)."""


class Records:
    """Of one direction of a connection."""

    __slots__ = ("_header", "_left")

    def __init__(self) -> None:
        self._header = b""
        self._left = 0

    def __repr__(self) -> str:
        return f"<Records, {self._left} bytes of one to come>"

    def cut(self, data: bytes) -> tuple[int, int]:
        """How many bytes of what comes next are one piece, and how many records end in it."""
        at = ended = 0
        size = len(data)
        while at < size and ended < AT_ONCE:
            if not self._left:
                known = len(self._header)
                self._header += data[at : at + HEADER_BYTES - known]
                at += len(self._header) - known
                if len(self._header) < HEADER_BYTES:
                    break
                self._left = int.from_bytes(self._header[3:], "big")
                self._header = b""
            taken = min(self._left, size - at)
            at += taken
            self._left -= taken
            ended += not self._left
        return at, ended


class Silence:
    """How many records that said nothing are not made up for.

    Attributes:
        records: so many; those that have ended and were not read yet are among them.
    """

    __slots__ = ("records",)

    def __init__(self) -> None:
        self.records = 0

    def __repr__(self) -> str:
        return f"<Silence, {self.records} records>"

    def note_ended(self, count: int) -> None:
        """So many records are here; whether they say something is not known yet."""
        self.records += count

    def note_content(self) -> None:
        """One of them did: it makes up for itself and one more, and never for any to come."""
        self.records = max(0, self.records - 2)

    def forget(self) -> None:
        """Those so far were a handshake's."""
        self.records = 0

    @property
    def is_too_long(self) -> bool:
        """Whether the connection is to be ended, where all records that are here have been read."""
        return self.records > MOST_SILENT
