"""The servers that the command is run against, once for each file of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.stage import Stage, open_stage


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with open_stage(tmp_path_factory.mktemp("stage")) as opened:
        yield opened
