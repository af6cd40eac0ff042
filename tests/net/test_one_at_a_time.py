"""Of two tasks that send on one stream, the second is told so."""

from __future__ import annotations

import pytest
import trio

from haclient.net.one_at_a_time import OneAtATime


def test_the_second_is_told_so_and_does_not_end_the_first() -> None:
    guard = OneAtATime()
    with guard:
        with pytest.raises(trio.BusyResourceError, match="another task is sending"), guard:
            raise AssertionError("it was let in")
        assert guard.is_held
    assert not guard.is_held


def test_one_that_fails_does_not_keep_it() -> None:
    guard = OneAtATime()
    with pytest.raises(trio.BrokenResourceError), guard:
        raise trio.BrokenResourceError
    with guard:
        assert guard.is_held
