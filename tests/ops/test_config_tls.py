"""The files of TLS: what the check says of them is what the engine does with them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
import trustme

from haclient.core.spec import TlsSettings
from haclient.net.tls import TlsFileError, make_context
from haclient.ops.config_file import check_bytes
from haclient.ops.config_tls import file_faults
from tests.support.certificates import LONG_AGO, write_ca, write_client_certificate, write_private


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """Good and bad ones, by name."""
    ca = trustme.CA()
    found = {"ca": write_ca(ca, tmp_path / "ca.pem")}
    found["cert"], found["key"] = write_client_certificate(ca, tmp_path)
    (tmp_path / "other").mkdir()
    _, found["other key"] = write_client_certificate(ca, tmp_path / "other")
    both = tmp_path / "both.pem"
    both.write_bytes(Path(found["key"]).read_bytes() + Path(found["cert"]).read_bytes())
    (tmp_path / "text.pem").write_text("no PEM")
    (tmp_path / "empty.pem").touch()
    found |= {
        "both": str(both),
        "text": str(tmp_path / "text.pem"),
        "empty": str(tmp_path / "empty.pem"),
        "folder": str(tmp_path),
        "missing": str(tmp_path / "missing.pem"),
        "encrypted": encrypted(tmp_path, Path(found["key"])),
    }
    return found


def encrypted(folder: Path, key: Path) -> str:
    """The key with a password around it."""
    from cryptography.hazmat.primitives import serialization as form

    private = form.load_pem_private_key(key.read_bytes(), None)
    path = folder / "encrypted.pem"
    path.write_bytes(
        private.private_bytes(
            form.Encoding.PEM, form.PrivateFormat.PKCS8, form.BestAvailableEncryption(b"secret")
        )
    )
    return str(path)


CASES: list[tuple[dict[str, str], list[str], str]] = [
    ({}, [], ""),
    ({"ca_file": "ca"}, [], ""),
    ({"cert_file": "cert", "key_file": "key"}, [], ""),
    ({"cert_file": "both"}, [], ""),
    ({"ca_file": "missing"}, ["ca_file"], "No such file or directory; name a PEM file"),
    ({"ca_file": "text"}, ["ca_file"], "not valid PEM"),
    ({"ca_file": "empty"}, ["ca_file"], "not valid PEM"),
    ({"ca_file": "folder"}, ["ca_file"], "name a PEM file"),
    ({"cert_file": "missing", "key_file": "key"}, ["cert_file"], "No such file"),
    ({"cert_file": "text", "key_file": "key"}, ["cert_file"], "not valid PEM"),
    ({"cert_file": "cert", "key_file": "missing"}, ["key_file"], "No such file"),
    ({"cert_file": "cert", "key_file": "text"}, ["key_file"], "not valid PEM"),
    ({"cert_file": "cert", "key_file": "other key"}, ["key_file"], "does not belong to"),
    ({"cert_file": "cert"}, ["cert_file"], "there is no private key in it; write key_file"),
    ({"cert_file": "cert", "key_file": "cert"}, ["key_file"], "there is no private key in it"),
    ({"cert_file": "cert", "key_file": "encrypted"}, ["key_file"], "store it decrypted"),
]


def settings_of(names: dict[str, str], files: dict[str, str]) -> TlsSettings:
    paths = {key: files[name] for key, name in names.items()}
    return TlsSettings(paths.get("ca_file"), paths.get("cert_file"), paths.get("key_file"))


@pytest.mark.parametrize(("names", "keys", "part"), CASES)
def test_files_and_what_is_wrong_with_them(
    names: dict[str, str], keys: list[str], part: str, files: dict[str, str]
) -> None:
    found = list(file_faults(settings_of(names, files)))

    assert [key for key, _ in found] == keys
    assert all(part in what for _, what in found)
    assert not any("\n" in what for _, what in found)


@pytest.mark.parametrize(("names", "keys", "_"), CASES)
def test_the_engine_refuses_the_same_ones(
    names: dict[str, str], keys: list[str], _: str, files: dict[str, str]
) -> None:
    settings = settings_of(names, files)
    try:
        make_context(settings)
    except TlsFileError:
        is_refused = True
    else:
        is_refused = False
    assert is_refused is bool(keys)


def test_all_files_are_looked_at() -> None:
    settings = TlsSettings(ca_file="/nonexistent/ca", cert_file="/nonexistent/cert")
    assert [key for key, _ in file_faults(settings)] == ["ca_file", "cert_file"]


def test_a_file_that_is_somebody_elses(private_file: Path) -> None:
    assert list(file_faults(TlsSettings(ca_file=str(private_file)))) == [
        ("ca_file", "Permission denied; name a PEM file that this user can read")
    ]


def warnings(tmp_path: Path, text: str) -> list[str]:
    checked = check_bytes(str(tmp_path / "haclient.toml"), text.encode())
    return [f"{one.line} {one}" for one in checked.warnings]


def test_certificates_of_ours_that_have_run_out(tmp_path: Path) -> None:
    """A door's, and what a target is shown; the file is in order, for both are served as they are."""
    ca, day = trustme.CA(), timedelta(1)
    leaf = ca.issue_cert("a.test", not_before=LONG_AGO, not_after=LONG_AGO + day)
    write_private(leaf.private_key_and_cert_chain_pem, tmp_path / "old.pem")
    file = (
        '[target.t]\nurls = ["https://a.test/"]\ntls.cert_file = "old.pem"\n'
        '[listener.l]\nbind = "127.0.0.1:80"\ntarget = "t"\ntls = { cert_file = "old.pem" }\n'
    )
    found = warnings(tmp_path, file)
    assert [line.split(" ", 1)[0] for line in found] == ["3", "7"]
    told = "it expired on 2001-01-02, and nobody accepts it any more; renew it"
    assert all(line.endswith(told) for line in found)
    ca.issue_cert("a.test").private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "old.pem"))
    assert warnings(tmp_path, file) == []
    (tmp_path / "old.pem").unlink()
    assert warnings(tmp_path, file) == []


def test_a_key_that_everybody_can_read(tmp_path: Path) -> None:
    """A door's, and a client's; in a file of its own, and behind the certificate."""
    leaf = trustme.CA().issue_cert("a.test")
    cert, key, both = (tmp_path / name for name in ("cert.pem", "key.pem", "both.pem"))
    leaf.cert_chain_pems[0].write_to_path(str(cert))
    leaf.private_key_pem.write_to_path(str(key))
    leaf.private_key_and_cert_chain_pem.write_to_path(str(both))
    file = (
        '[target.t]\nurls = ["https://a.test/"]\ntls.cert_file = "both.pem"\n'
        '[listener.l]\nbind = "127.0.0.1:80"\ntarget = "t"\n'
        'tls = { cert_file = "cert.pem", key_file = "key.pem" }\n'
    )
    cert.chmod(0o644)
    for mode in (0o600, 0o640):
        key.chmod(mode)
        both.chmod(mode)
        assert warnings(tmp_path, file) == []
    key.chmod(0o604)
    both.chmod(0o644)
    first, second = warnings(tmp_path, file)
    assert '[target.t] tls.cert_file = "both.pem": ' in first
    assert first.endswith(
        "everybody can read the key (mode 0644); chmod 600 it, or 640 for a group"
    )
    assert '[listener.l] tls.key_file = "key.pem": ' in second
    assert "(mode 0604)" in second
    both.write_bytes(cert.read_bytes())
    assert len(warnings(tmp_path, file)) == 1, "there is no key in it, which is an error"
    both.write_bytes(leaf.private_key_and_cert_chain_pem.bytes())
    key.unlink()
    assert len(warnings(tmp_path, file)) == 1, "that it is not there is an error"


def test_a_listener_s_authorities_are_for_clients(tmp_path: Path) -> None:
    text = (
        '[listener.l]\nbind = "127.0.0.1:80"\ntls = { cert_file = "c.pem", ca_file = "ca.pem" }\n'
    )
    errors = check_bytes(str(tmp_path / "haclient.toml"), text.encode()).errors
    (error,) = [str(one) for one in errors if "unknown key" in str(one)]
    assert error.endswith("unknown key; did you mean client_ca_file?")
