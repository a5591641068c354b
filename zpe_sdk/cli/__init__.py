"""The command ``zpe``."""

import sys

try:
    from zpe_sdk.cli.main import app, main
except KeyboardInterrupt:  # while it is still being imported
    sys.stderr.write("zpe: interrupted\n")
    sys.exit(130)

__all__ = ["app", "main"]
