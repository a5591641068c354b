"""The command ``zpe``."""

from zpe_sdk.cli.main import app, main

__all__ = ["app", "main"]
