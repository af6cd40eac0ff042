"""The version, where it costs nothing to read.

importlib.metadata would take 30 ms of a command's start to find the same number; a test holds the
two together.
"""

from __future__ import annotations

__all__ = ["VERSION"]

VERSION = "0.1.0"
