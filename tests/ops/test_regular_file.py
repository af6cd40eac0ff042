"""Files that a running daemon reads: regular ones, and nobody is waited for."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import trustme

from haclient.core.config import DoorTls
from haclient.core.spec import TlsSettings
from haclient.net.tls import TlsFileError, make_context
from haclient.net.tls_server import make_server_context
from haclient.ops.config_error import ConfigError
from haclient.ops.config_file import read_bytes
from haclient.ops.config_tls import file_faults
from haclient.regular_file import (
    MAX_PEM_BYTES,
    NOT_REGULAR,
    held_regular,
    open_regular,
    read_regular,
)
from tests.support.certificates import write_client_certificate

CA = trustme.CA()


@pytest.fixture(autouse=True)
def patience() -> Iterator[None]:
    """Who waits for a writer waits for ever: an alarm ends it."""
    signal.alarm(20)
    yield
    signal.alarm(0)


@pytest.fixture
def pipe(tmp_path: Path) -> str:
    os.mkfifo(tmp_path / "pipe")
    return str(tmp_path / "pipe")


def test_a_file_is_read_as_far_as_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    (tmp_path / "link").symlink_to(path)
    assert read_regular(str(path)) == b"content"
    assert read_regular(str(path), 4) == b"cont"
    assert read_regular(str(tmp_path / "link")) == b"content"


def test_what_is_no_file(pipe: str) -> None:
    for path in (pipe, "/dev/zero"):
        with pytest.raises(OSError, match=NOT_REGULAR):
            read_regular(path, 10)
        with pytest.raises(OSError, match=NOT_REGULAR), held_regular(path, 10):
            pass


def test_what_is_put_in_the_place_of_one_that_is_held(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"content")
    with held_regular(str(path), 7) as held:
        path.unlink()
        os.mkfifo(path)
        assert Path(held).read_bytes() == b"content"


def test_one_that_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.touch()
    os.truncate(path, (3 << 20) + 1)
    with pytest.raises(ValueError, match="more than 3 MiB"), held_regular(str(path), 3 << 20):
        pass


def test_how_it_is_opened_is_the_caller_s_to_say(tmp_path: Path) -> None:
    path, link = tmp_path / "file", tmp_path / "link"
    path.write_bytes(b"content")
    link.symlink_to(path)
    with open_regular(str(path), os.O_NOFOLLOW) as file:
        assert file.read() == b"content"
    with pytest.raises(OSError, match="symbolic links"):
        open_regular(str(link), os.O_NOFOLLOW)


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        read_regular(str(tmp_path))
    with pytest.raises(IsADirectoryError), held_regular(str(tmp_path), 10):
        pass


def test_what_is_not_there(tmp_path: Path) -> None:
    path = str(tmp_path / "file")
    with pytest.raises(FileNotFoundError):
        read_regular(path)
    with pytest.raises(FileNotFoundError), held_regular(path, 10):
        pass


def test_a_configuration_file(pipe: str) -> None:
    found = read_bytes(pipe)
    assert isinstance(found, ConfigError)
    assert re.search(f"it cannot be read: {NOT_REGULAR}; name the configuration", str(found))


@pytest.mark.parametrize("key", ["ca_file", "cert_file"])
def test_files_of_tls(key: str, pipe: str) -> None:
    settings = TlsSettings(**{key: pipe})  # type: ignore[arg-type]
    expected = f"{NOT_REGULAR}; name a PEM file that this user can read"
    assert list(file_faults(settings)) == [(key, expected)]
    with pytest.raises(TlsFileError, match=NOT_REGULAR):
        make_context(settings)


@pytest.mark.parametrize("key", ["cert_file", "key_file", "client_ca_file"])
def test_files_of_a_listener_s_tls(key: str, pipe: str, tmp_path: Path) -> None:
    """At the start and at each reload: neither may wait for a writer."""
    cert_file, key_file = write_client_certificate(CA, tmp_path)
    settings = DoorTls(cert_file=cert_file, key_file=key_file)
    with pytest.raises(TlsFileError, match=f"{pipe} cannot be used: {NOT_REGULAR}"):
        make_server_context(msgspec.structs.replace(settings, **{key: pipe}))


@pytest.mark.parametrize("key", ["ca_file", "cert_file", "key_file"])
def test_files_of_tls_that_have_no_end(key: str, tmp_path: Path) -> None:
    cert_file, key_file = write_client_certificate(CA, tmp_path)
    endless = tmp_path / "endless"
    endless.touch()
    os.truncate(endless, MAX_PEM_BYTES + 1)
    settings = TlsSettings(cert_file=cert_file, key_file=key_file)
    settings = msgspec.structs.replace(settings, **{key: str(endless)})
    assert list(file_faults(settings)) == [(key, "it has more than 4 MiB")]
    with pytest.raises(TlsFileError, match=f"{endless} cannot be used: it has more than 4 MiB"):
        make_context(settings)
