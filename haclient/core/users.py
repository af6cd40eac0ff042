"""Users and passwords of a door: the text of a users file, and whether a password is a user's.

    # what 'haclient passwd FILE USER' writes
    orders-job:$scrypt$ln=14,r=8,p=1$7cXJ0f2O0rA1qk9f3yXzWA$9v...

A file that leaks must not be a list of passwords, so each is hashed by scrypt (RFC 7914) with a salt of
its own: a guess costs 16 MiB and 20 to 50 ms of a processor, where a plain hash costs a millionth. Each check pays
for every cost that stands in the file, whoever is meant, and if he is no user at all: the time tells nobody
which names there are. (To let a stranger cost what the first line does tells them, where lines differ.)

Other programs' hashes (htpasswd's) are refused, with that word: some of them cost a guesser nothing. What
is wrong is told with its line, never with what stands there: it may be a hash, or a password.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import re

import msgspec

__all__ = ["Cost", "User", "Users", "basic_credentials", "checked_name", "new_user", "with_user"]

MAX_BYTES = 1 << 20
"""Of a users file; ten thousand users take as much."""

MAX_NAME, MAX_PASSWORD = 255, 1024
"""Characters of a name; bytes of a password: nobody types more, and a program has no need to."""

HASH_BYTES, SALT_BYTES = 32, 16
"""What PBKDF2 with HMAC-SHA-256, scrypt's last step (RFC 7914, section 6), gives in one block; and the 128 bits that
NIST SP 800-132, section 5.1, asks of a salt at least."""


class Cost(msgspec.Struct, frozen=True):
    """What a guess costs: 2 ** ln * r * 128 bytes of memory, p times as much work (RFC 7914)."""

    ln: int = 14
    r: int = 8
    p: int = 1

    @property
    def memory(self) -> int:
        """In bytes."""
        return int(2**self.ln) * self.r * 128

    @property
    def is_sane(self) -> bool:
        """Neither nothing, nor a way to stop the daemon: up to 64 MiB, four times the default's work."""
        return self.ln >= 10 and self.r >= 1 and self.p >= 1 and self.memory * self.p <= 64 << 20


class User(msgspec.Struct, frozen=True):
    """One line."""

    name: str
    cost: Cost
    salt: bytes
    digest: bytes

    def __repr__(self) -> str:
        return f"<User {self.name}>"

    def __str__(self) -> str:
        cost = f"ln={self.cost.ln},r={self.cost.r},p={self.cost.p}"
        return f"{self.name}:$scrypt${cost}${_text(self.salt)}${_text(self.digest)}"


NOBODY = User("", Cost(), bytes(SALT_BYTES), bytes(HASH_BYTES))
"""Whose password is guessed where there is no such user; nothing known hashes to zeros."""

_LINE = re.compile(
    r"([^:]*):\$scrypt\$ln=([0-9]{1,2}),r=([0-9]{1,2}),p=([0-9]{1,2})"
    r"\$([A-Za-z0-9+/]{22})\$([A-Za-z0-9+/]{43})"
)

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

_TOKEN68 = re.compile(rb"[A-Za-z0-9+/]+={0,2}")


class Users(msgspec.Struct, frozen=True):
    """Those of a file, by name; `costs` are all that its lines have, mostly one."""

    by_name: dict[str, User]
    costs: tuple[Cost, ...]

    @classmethod
    def parse(cls, text: str) -> Users:
        """Reads a users file.

        Raises:
            ValueError: "line 3: ..."; nothing of what stands there is in the message.
        """
        by_name: dict[str, User] = {}
        for number, line in enumerate(text.split("\n"), 1):
            line = line.strip()
            if not line or line.startswith("#"):
                continue
            try:
                user = _user(line)
                if user.name in by_name:
                    raise ValueError("that user has a line already; remove one of the two")
            except ValueError as exc:
                raise ValueError(f"line {number}: {exc}") from None
            by_name[user.name] = user
        costs = tuple(dict.fromkeys(user.cost for user in by_name.values()))
        return cls(by_name, costs or (NOBODY.cost,))

    def __repr__(self) -> str:
        return f"<Users: {len(self.by_name)}>"

    def verify(self, name: str, password: str) -> User | None:
        """The user whose name and password these are; takes as long if there is none."""
        user = self.by_name.get(name, NOBODY)
        digests = {cost: _hash(password, user.salt, cost) for cost in self.costs}
        is_right = hmac.compare_digest(digests.get(user.cost, b""), user.digest)
        return user if is_right else None


def _user(line: str) -> User:
    name, colon, _ = line.partition(":")
    if not colon:
        raise ValueError("there is no colon behind the user's name; 'haclient passwd' writes lines")
    checked_name(name)
    found = _LINE.fullmatch(line)
    if found is None:
        raise ValueError(
            "what is behind the name is no hash of ours; write the line with 'haclient passwd'"
        )
    cost = Cost(int(found[2]), int(found[3]), int(found[4]))
    if not cost.is_sane:
        raise ValueError(
            f"scrypt with ln={cost.ln}, r={cost.r}, p={cost.p} is too cheap, or takes more than 64 MiB"
        )
    return User(name, cost, _bytes(found[5]), _bytes(found[6]))


def checked_name(name: str) -> str:
    """Returns a user's name.

    Raises:
        ValueError: no client could send it (RFC 7617, section 2), or no line could hold it.
    """
    if not name or len(name) > MAX_NAME or name != name.strip() or name.startswith("#"):
        raise ValueError(
            f'a user\'s name has 1 to {MAX_NAME} characters, no blanks around them, and no "#" in front'
        )
    if ":" in name or not name.isprintable():
        raise ValueError("a user's name is without colons and control characters, and UTF-8")
    return name


def new_user(name: str, password: str, salt: bytes, cost: Cost | None = None) -> User:
    """A user with a password; `salt` is 16 random bytes.

    Raises:
        ValueError: the name or the password could not be sent.
    """
    checked_name(name)
    try:
        size = len(password.encode())
    except UnicodeEncodeError:
        raise ValueError("a password is UTF-8 (RFC 7617): no client could send this one") from None
    if not password or size > MAX_PASSWORD or _CONTROL.search(password):
        raise ValueError(
            f"a password has 1 to {MAX_PASSWORD} bytes, and no control characters (RFC 7617)"
        )
    spent = cost or Cost()
    return User(name, spent, salt, _hash(password, salt, spent))


def _hash(password: str, salt: bytes, cost: Cost) -> bytes:
    return hashlib.scrypt(
        password.encode(),
        salt=salt,
        n=2**cost.ln,
        r=cost.r,
        p=cost.p,
        maxmem=2 * cost.memory + (1 << 20),
        dklen=HASH_BYTES,
    )


def with_user(text: str, name: str, user: User | None) -> tuple[str, bool]:
    """The text of a users file with another line for `name`, or none; and whether it had one.

    Comments, and the order of the lines, stay.
    """
    lines, had = [], False
    for line in text.split("\n"):
        if line.strip().partition(":")[0] != name:
            lines.append(line)
        elif not had:
            had = True
            lines += [] if user is None else [str(user)]
    if user is not None and not had:
        while lines and not lines[-1].strip():
            lines.pop()
        lines.append(str(user))
    return "\n".join(lines).rstrip("\n") + "\n", had


def basic_credentials(value: bytes) -> tuple[str, str] | None:
    """Name and password of an Authorization field (RFC 7617); None where it holds none."""
    scheme, _, rest = value.partition(b" ")
    token = rest.strip(b" ")
    if scheme.lower() != b"basic" or not _TOKEN68.fullmatch(token):
        return None
    try:
        text = binascii.a2b_base64(token, strict_mode=True).decode()
    except ValueError:
        return None
    name, colon, password = text.partition(":")
    if not colon or _CONTROL.search(text) or len(password.encode()) > MAX_PASSWORD:
        return None
    return name, password


def _text(data: bytes) -> str:
    return binascii.b2a_base64(data, newline=False).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return binascii.a2b_base64(text + "=" * (-len(text) % 4))
