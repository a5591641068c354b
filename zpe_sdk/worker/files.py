"""What a worker keeps on disk: files written in one step, and a folder that is its alone."""

from __future__ import annotations

import fcntl
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path

from zpe_sdk.errors import ConfigError

_LOOKS = 3
_LOOK_SECONDS = 0.02


def write_durably(path: Path, text: str) -> None:
    """Write a file with mode 0600 so that, whenever the machine stops, all of it is there or nothing."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError:
        new.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def remove_half_written(folder: Path) -> None:
    """Remove what :func:`write_durably` had not finished when the machine or the process stopped."""
    for path in folder.glob(".*.new"):
        path.unlink(missing_ok=True)


@contextmanager
def own_folder(folder: Path) -> Iterator[Path]:
    """Hold a folder, made if it is missing, for this process alone.

    Raises
    ------
    ConfigError
        ``work_dir_in_use``: another worker holds it; ``bad_work_dir``: it cannot be made or written.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(
            f"the work folder {folder} cannot be used: {error.strerror}",
            code="bad_work_dir",
            field="ZPE_WORK_DIR",
        ) from error
    try:
        _lock(lock)
    except BlockingIOError:
        os.close(lock)
        raise ConfigError(
            f"another worker is at work in {folder}; give each its own --work-dir",
            code="work_dir_in_use",
            field="ZPE_WORK_DIR",
        ) from None
    try:
        yield folder
    finally:
        os.close(lock)


def is_held(folder: Path) -> bool:
    """Tell whether a process holds a folder.

    Raises
    ------
    OSError
        None ever has, or it is not ours to read.
    """
    lock = os.open(folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _lock(lock: int) -> None:
    """Lock a file; whoever only looks (:func:`is_held`) is out of the way in no time."""
    for _ in range(_LOOKS):
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(_LOOK_SECONDS)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def free_folder(parent: Path, kind: str) -> Iterator[Path]:
    """Hold the first free folder ``<kind>-<host>-<n>``: one for each process of a kind on this host.

    Raises
    ------
    ConfigError
        ``bad_work_dir``: it cannot be made or written.
    """
    host = re.sub(r"[^A-Za-z0-9_-]", "-", socket.gethostname())[:48]
    with ExitStack() as held:
        for n in count():
            try:
                folder = held.enter_context(own_folder(parent / f"{kind}-{host}-{n}"))
                break
            except ConfigError as error:
                if error.code != "work_dir_in_use":
                    raise
        yield folder
