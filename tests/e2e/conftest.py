"""The servers that the command is run against, once for each file of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.stage import Stage, open_stage


@pytest.fixture(scope="module")
def stage_of_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with open_stage(tmp_path_factory.mktemp("stage")) as opened:
        yield opened


@pytest.fixture
def stage(stage_of_file: Stage) -> Stage:
    """With nothing on it that another test has sent."""
    stage_of_file.sent()
    return stage_of_file
