"""``zpe export`` and ``zpe import``: all that a store holds, from one store to another."""

from __future__ import annotations

import json as jsonlib
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import redis
import typer

from zpe_sdk.cli.jobs import Json
from zpe_sdk.errors import ConfigError, StoreError
from zpe_server.archive import export_to, import_from, open_store
from zpe_server.embedded import embedded_redis, running_url
from zpe_server.environment import read_settings
from zpe_server.store import at_home

DataDir = Annotated[
    Path | None, typer.Option(help="Folder of the embedded Redis [ZPE_DATA_DIR; default: zpe-data].")
]


def export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Where to put it; there must be none yet.")],
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Write all that a store holds to a file: jobs, results, tokens, workers.

    The store is the Redis of ZPE_REDIS_URL, or the embedded one in --data-dir,
    whether a control plane runs on it or not: writes wait meanwhile. What is
    written after that is not in the file. Results in S3 stay where they are.

    Example:  zpe export zpe-2026-11-28.jsonl.gz
    """
    with _store(data_dir, must_exist=True) as store:
        _say(export_to(store, file), f"in {file}", json)


def import_(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `zpe export` has written.")],
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Put all that a file of `zpe export` holds into an empty store.

    The store is the Redis of ZPE_REDIS_URL, or an embedded one in --data-dir;
    any other kind or version than the file comes from will do. All is read
    back and compared before any of it counts.

    Example:  ZPE_REDIS_URL=redis://127.0.0.1:6379/0 zpe import zpe-2026-11-28.jsonl.gz
    """
    with _store(data_dir) as store:
        _say(import_from(file, store), f"from {file}", json)


@contextmanager
def _store(data_dir: Path | None, *, must_exist: bool = False) -> Iterator[redis.Redis]:
    settings = read_settings()
    with ExitStack() as stack:
        if settings.redis_url is not None and data_dir is None:
            url = settings.redis_url.get_secret_value()
        else:
            folder = (data_dir or settings.data_dir) / "redis"
            if must_exist and not folder.is_dir():
                raise ConfigError(
                    f"there is no store in {folder}; set ZPE_REDIS_URL, ZPE_DATA_DIR or --data-dir",
                    code="bad_data_dir",
                    field="ZPE_DATA_DIR",
                )
            url = running_url(folder) or stack.enter_context(embedded_redis(folder))
        store = stack.enter_context(open_store(url))
        try:
            yield at_home(store)
        except redis.RedisError as error:
            # Its own text may hold the URL, and that the password.
            raise StoreError(
                f"Redis does not answer as it should ({type(error).__name__})", code="store_unavailable"
            ) from error


def _say(counts: Counter[str], where: str, json: bool) -> None:
    found = {f"{kind}s": counts[kind] for kind in ("job", "result", "token", "worker")}
    if json:
        print(jsonlib.dumps(found | {"keys": counts.total()}))
        return
    kinds = ", ".join(f"{count} {kind}" for kind, count in found.items())
    print(f"{kinds} ({counts.total()} keys in all) {where}", file=sys.stderr)
