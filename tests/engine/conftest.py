"""An authority and its server, made once."""

from __future__ import annotations

import pytest

from tests.engine.tls_origin import TlsOrigin


@pytest.fixture(scope="session")
def secure(tmp_path_factory: pytest.TempPathFactory) -> TlsOrigin:
    """Serves https://a.test/ wherever it is listened to."""
    return TlsOrigin(tmp_path_factory.mktemp("authority"))
