"""Services that this process has started for itself: one for each folder, whoever asks for it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from zpe_sdk.client.local_service import LocalService

Engine = Literal["qe", "mock"]
EMBEDDED_FOLDER = Path("zpe-data/notebook")


@dataclass
class Embedded:
    """A service that this process has started, with what it was started."""

    stack: ExitStack
    service: LocalService
    options: dict[str, Any]

    def close(self) -> None:
        """Stop it."""
        _running.pop(self.service.folder, None)
        self.stack.close()


_running: dict[Path, Embedded] = {}


async def start_embedded(
    folder: Path, *, engine: Engine, pseudo_dir: Path | None, settings: Mapping[str, str] | None
) -> Embedded:
    """Return the service of a folder: the one that runs if it was started with the same, else a new one.

    Parameters and errors are those of :func:`zpe_sdk.client.local_service.local_service`.
    """
    from zpe_sdk.client.local_service import local_service

    folder = folder.resolve()
    start = partial(local_service, folder, engine=engine, pseudo_dir=pseudo_dir, settings=settings)
    running = _running.get(folder)
    # A cell that is run again gets what it has started before.
    if running is None or running.options != start.keywords:
        if running is not None:
            await asyncio.to_thread(running.close)
        stack = ExitStack()
        # It waits for processes, and calls them blocking: not on this loop.
        service = await asyncio.to_thread(lambda: stack.enter_context(start()))
        running = _running[folder] = Embedded(stack, service, start.keywords)
    return running
