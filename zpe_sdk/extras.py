"""What extras of the installation bring, and which one is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import EntryPoint, PackageNotFoundError, requires, version
from typing import Any

from zpe_sdk.errors import ConfigError

DISTRIBUTION = "zpe"


def is_installed(extras: Sequence[str]) -> bool:
    """Tell whether all packages that some extras of this distribution bring are there."""
    if not extras:
        return True
    from packaging.requirements import Requirement  # takes longer than `zpe --help` may

    for text in requires(DISTRIBUTION) or ():
        wanted = Requirement(text)
        if wanted.marker and any(wanted.marker.evaluate({"extra": extra}) for extra in extras):
            try:
                version(wanted.name)
            except PackageNotFoundError:
                return False
    return True


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


@contextmanager
def needed_for(setting: str, what: str, extra: str, *packages: str) -> Iterator[None]:
    """Import what a setting needs of an extra within the ``with`` block.

    Parameters
    ----------
    setting
        The variable, or ``variable=value``.
    what
        What it needs, in words.
    extra
        The extra that brings it.
    *packages
        The packages, as they are imported.

    Raises
    ------
    ConfigError
        ``extra_missing``: one of them is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in packages:
            raise
        raise ConfigError(
            f"{setting} needs {what}: pip install 'zpe[{extra}]'",
            code="extra_missing",
            field=setting.partition("=")[0],
        ) from None
