"""``python -m zpe_sdk.worker``."""

from __future__ import annotations

import typer

from zpe_sdk.worker.command import worker

if __name__ == "__main__":
    typer.run(worker)
