"""Certificates of a configuration that are renewed at the worst moment."""

from __future__ import annotations

from pathlib import Path

import pytest
import trustme

from haclient.core.config import Config
from haclient.core.spec import Target, TlsSettings
from haclient.net import tls
from haclient.proxy import trust
from haclient.proxy.trust import read_trust, renewed
from tests.support.certificates import write_ca


def test_one_that_is_renewed_while_it_is_read_is_another_to_the_next_reload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ca.pem"
    target = Target(urls=["https://a.test"], tls=TlsSettings(ca_file=write_ca(trustme.CA(), path)))
    config = Config(targets={"main": target})

    def renew_after(settings: TlsSettings) -> object:
        context = tls.make_context(settings)
        write_ca(trustme.CA(), path)
        return context

    with monkeypatch.context() as patched:
        patched.setattr(trust, "make_context", renew_after)
        first = read_trust(config)
    second = read_trust(config)
    assert list(renewed(first, second)) == ["target main: certificates"]
    assert list(renewed(second, read_trust(config))) == []
