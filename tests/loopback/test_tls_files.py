"""A certificate, key or CA file that cannot be used is named, with its role and the reason."""

from __future__ import annotations

import subprocess
from pathlib import Path
from shutil import which

import pytest
import trustme

from haclient.core.spec import TlsSettings
from haclient.errors import BadRequestError
from haclient.net.tls import TlsFileError, make_context
from tests.support.certificates import write_ca, write_client_certificate

CA = trustme.CA()

needs_openssl = pytest.mark.skipif(
    which("openssl") is None, reason="the command openssl is missing"
)


class TestFiles:
    @staticmethod
    def refused(settings: TlsSettings) -> TlsFileError:
        with pytest.raises(TlsFileError) as raised:
            make_context(settings)
        assert isinstance(raised.value, BadRequestError)
        assert raised.value.proxy_status.status == 500, "it is no fault of the request's"
        return raised.value

    @pytest.mark.parametrize(
        ("content", "why"),
        [
            pytest.param(None, "no such file", id="missing"),
            pytest.param(b"garbage", "not valid PEM", id="garbage"),
            pytest.param(b"", "not valid PEM", id="empty"),
            pytest.param("directory", "Is a directory", id="a directory"),
        ],
    )
    @pytest.mark.parametrize("role", ["CA", "certificate", "key"])
    def test_the_one_that_cannot_be_used_is_named(
        self, role: str, content: bytes | str | None, why: str, tmp_path: Path
    ) -> None:
        cert_file, key_file = write_client_certificate(CA, tmp_path)
        spoilt = tmp_path / "spoilt.pem"
        if content == "directory":
            spoilt.mkdir()
        elif isinstance(content, bytes):
            spoilt.write_bytes(content)
        paths = {"CA": write_ca(CA, tmp_path / "ca.pem"), "certificate": cert_file, "key": key_file}
        paths[role] = str(spoilt)
        error = self.refused(
            TlsSettings(ca_file=paths["CA"], cert_file=paths["certificate"], key_file=paths["key"])
        )
        assert (error.role, error.path) == (role, str(spoilt))
        assert str(error).startswith(f"the {role} file {spoilt} cannot be used: ")
        assert why in str(error)

    def test_one_that_may_not_be_read_is_named(self, private_file: Path) -> None:
        error = self.refused(TlsSettings(ca_file=str(private_file)))
        assert (error.role, error.path) == ("CA", str(private_file))
        assert "denied" in str(error)

    def test_one_that_cannot_be_read_is_named(self) -> None:
        error = self.refused(TlsSettings(ca_file="/proc/self/mem"))
        assert (error.role, error.path) == ("CA", "/proc/self/mem")

    @needs_openssl
    def test_an_encrypted_key_is_refused_and_nobody_is_asked(self, tmp_path: Path) -> None:
        cert_file, key_file = write_client_certificate(CA, tmp_path)
        locked = tmp_path / "locked.key"
        command = ["openssl", "pkcs8", "-topk8", "-in", key_file, "-out", str(locked)]
        subprocess.run([*command, "-passout", "pass:secret"], check=True, capture_output=True)
        error = self.refused(TlsSettings(cert_file=cert_file, key_file=str(locked)))
        assert (error.role, error.path) == ("key", str(locked))
        assert "the key is encrypted" in str(error)

    def test_the_key_of_another_certificate_is_refused(self, tmp_path: Path) -> None:
        cert_file, _ = write_client_certificate(CA, tmp_path)
        (tmp_path / "other").mkdir()
        _, other_key = write_client_certificate(CA, tmp_path / "other")
        error = self.refused(TlsSettings(cert_file=cert_file, key_file=other_key))
        assert (error.role, error.path) == ("key", other_key)
        assert "does not belong to the certificate" in str(error)

    def test_a_certificate_without_its_key_is_refused(self, tmp_path: Path) -> None:
        cert_file, _ = write_client_certificate(CA, tmp_path)
        error = self.refused(TlsSettings(cert_file=cert_file))
        assert (error.role, error.path) == ("key", cert_file)
        assert "there is no private key in it; write key_file" in str(error)
