"""What a check of a machine finds; ``zpe doctor`` shows it."""

from __future__ import annotations

from typing import Literal

from zpe_sdk.errors import ZPEError
from zpe_sdk.wire import Message

State = Literal["ok", "warn", "fail"]


class Check(Message):
    """One thing that was looked at: ``found`` says how it is, ``hint`` what to do about it."""

    name: str
    state: State
    found: str
    hint: str | None = None


def ok(name: str, found: str) -> Check:
    """Return a check that found all well."""
    return Check(name=name, state="ok", found=found)


def warn(name: str, found: str, hint: str) -> Check:
    """Return a check that found what works, but not as it should."""
    return Check(name=name, state="warn", found=found, hint=hint)


def fail(name: str, found: str, hint: str) -> Check:
    """Return a check that found what will not work."""
    return Check(name=name, state="fail", found=found, hint=hint)


def failed(name: str, error: ZPEError, hint: str) -> Check:
    """Return a check that ended with an error."""
    return fail(name, str(error), hint)
