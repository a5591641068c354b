"""What extras of the installation bring, by entry points: `zpe_sdk` imports none of it."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

from zpe_sdk.errors import ConfigError


def loaded(entry: EntryPoint, command: str) -> Any:
    """Return what an entry point names, for a command.

    Raises
    ------
    ConfigError
        ``extra_missing``: a package that it needs is not installed.
    """
    try:
        return entry.load()
    except ModuleNotFoundError as error:
        if not entry.extras:
            raise
        raise ConfigError(
            f"{command} needs {error.name}, which is not installed here: "
            f"pip install 'zpe[{','.join(entry.extras)}]'",
            code="extra_missing",
        ) from None
