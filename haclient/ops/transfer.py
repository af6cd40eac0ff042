"""One URL from its first request to the last byte of its answer, redirects followed on the way."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from typing import BinaryIO

import msgspec
import trio

from haclient.client import Client
from haclient.core.spec import Target
from haclient.core.url import Url
from haclient.errors import DeadlineError
from haclient.ops.command_line import CommandError
from haclient.ops.content import InlineContent, StandardInput
from haclient.ops.exit_codes import ExitCode
from haclient.ops.meter import Meter
from haclient.ops.options import RequestOptions
from haclient.ops.output import Output, head_lines
from haclient.ops.progress import Bar
from haclient.ops.request_plan import Intent, RequestPlan, compose
from haclient.response import Response

if False:  # the type alone; most requests have no cookies
    from haclient.ops.cookies import CookieJar

__all__ = ["Transferring"]

IGNORED_BYTES = 65536
"""Of a redirect's content, read so that its connection serves on; a longer one is not worth it."""
