"""All that a store holds, as a file that any other store can take: jobs, results, tokens, workers.

Redis's own files can be read by the server that wrote them, and by some others. This one is text, packed
with gzip: a head, a line of JSON for each key, and an end with their number and checksum, so that a file that
was cut off or changed is noticed. Bytes that are no UTF-8 stay what they are (``surrogateescape``).
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TextIO, TypeVar

import redis

from zpe_sdk.errors import InputError, StoreError
from zpe_sdk.version import __version__
from zpe_server.replicas import ALIVE_SECONDS
from zpe_server.store import PREFIX

FORMAT = 1
# For so long at a time the store takes no writes while it is read: should we die, it goes on soon.
PAUSE_MS = 30_000
BATCH = 500
# They are about this store and whoever runs on it now, not about what it holds.
_OF_THE_STORE = (
    "epoch",
    "probe",
    "replicas",
    "notices",
    "notices:last",
    "notices:claim",
    "ended",
    "ended:wanted",
)
# What is being imported stands under this name until all of it is there.
_COMING = "import:"

Record = dict[str, Any]
T = TypeVar("T")


def open_store(url: str) -> redis.Redis:
    """Return a connection that loses no byte."""
    return redis.Redis.from_url(url, decode_responses=True, encoding_errors="surrogateescape")


def export_to(store: redis.Redis, file: Path) -> Counter[str]:
    """Write all that a store holds to a new file; return how many things of each kind.

    It may be in use: it is read as of one moment, and writes wait for that time.

    Raises
    ------
    InputError
        ``file_unwritable``: the file cannot be made, or is there already.
    StoreError
        ``store_in_use``: this Redis cannot let writes wait, and a control plane runs on it.
    """
    counts: Counter[str] = Counter()
    digest = hashlib.sha256()
    try:
        with _new(file) as out, _still(store) as go_on:
            out.write(json.dumps({"zpe": __version__, "format": FORMAT}) + "\n")
            for batch in _batches(sorted(_names(store))):
                go_on()
                for record in _records(store, batch):
                    line = json.dumps(record, sort_keys=True) + "\n"
                    digest.update(line.encode())
                    counts[kind_of(record["key"])] += 1
                    out.write(line)
            out.write(json.dumps({"keys": counts.total(), "sha256": digest.hexdigest()}) + "\n")
    except OSError as error:
        raise InputError(
            f"{file} cannot be written: {error.strerror}", code="file_unwritable", field="FILE"
        ) from None
    return counts


def import_from(file: Path, store: redis.Redis) -> Counter[str]:
    """Put all that a file holds into an empty store; return how many things of each kind.

    The whole file is checked first. Then everything is stored under other names, read back and compared; in
    one step it gets its own names, and begins to count. Interrupted before, it has changed nothing.

    Raises
    ------
    InputError
        ``file_missing``, ``bad_archive``; ``store_not_empty``: it holds something already.
    StoreError
        ``store_unavailable``: what was read back is not what was written.
    """
    for _ in records_of(file):
        pass
    if there := next(_names(store), None):
        raise InputError(
            f"the store is not empty (it holds {there}, for one): import into an empty one",
            code="store_not_empty",
            field="ZPE_REDIS_URL",
        )
    _forget_half_imported(store)
    counts: Counter[str] = Counter()
    expiries: dict[str, int | None] = {}
    for batch in _batches(records_of(file)):
        _store_and_compare(store, batch)
        counts.update(kind_of(record["key"]) for record in batch)
        expiries |= {record["key"]: record.get("expires_ms") for record in batch}
    with store.pipeline(transaction=True) as pipeline:
        for name, expires_ms in expiries.items():
            pipeline.rename(PREFIX + _COMING + name, PREFIX + name)
            if expires_ms is not None:
                pipeline.pexpireat(PREFIX + name, expires_ms)
        pipeline.delete(PREFIX + "epoch")  # whoever remembers the empty store is to look again
        pipeline.execute()
    return counts


def records_of(file: Path) -> Iterator[Record]:
    """Yield what an exported file holds; only at its end is it known to be whole.

    Each has ``key``, ``type``, ``value`` and, if it is to expire, ``expires_ms`` (since 1970).

    Raises
    ------
    InputError
        ``file_missing``; ``bad_archive``: it is something else, or not all of it.
    """
    digest, count, line = hashlib.sha256(), 0, ""
    try:
        with gzip.open(file, "rt", encoding="ascii", newline="\n") as lines:
            head = json.loads(next(lines, ""))
            if not isinstance(head, dict) or head.get("format") != FORMAT:
                raise _bad(file, "it is something else, or of a later version of zpe")
            for following in lines:
                if line:
                    digest.update(line.encode())
                    count += 1
                    yield json.loads(line)
                line = following
        end = json.loads(line)
    except FileNotFoundError:
        raise InputError(f"there is no file {file}", code="file_missing", field="FILE") from None
    except (OSError, EOFError, ValueError) as error:
        raise _bad(file, f"it cannot be read to its end ({type(error).__name__})") from None
    if end != {"keys": count, "sha256": digest.hexdigest()}:
        raise _bad(file, "its end is missing, or something in it was changed")


def kind_of(name: str) -> str:
    """Return what a key is: ``job``, ``result``, ``token``, ``worker``; ``""``: a part of one, or a list."""
    kind, _, rest = name.partition(":")
    return kind if rest and ":" not in rest else ""


def _bad(file: Path, why: str) -> InputError:
    return InputError(f"{file} is no export of zpe: {why}", code="bad_archive", field="FILE")


@contextmanager
def _new(file: Path) -> Iterator[TextIO]:
    """Open a new file, which its owner alone may read: it holds all inputs and results."""
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as raw:
        try:
            with gzip.open(raw, "wt", encoding="ascii", newline="\n") as out:
                yield out
        except BaseException:
            file.unlink()  # half a file is of no use
            raise


@contextmanager
def _still(store: redis.Redis) -> Iterator[Callable[[], None]]:
    """Let all writes to a store wait for a ``with`` block; give what is to be called now and then in it."""

    def pause() -> None:
        store.client_pause(PAUSE_MS, all=False)

    try:
        pause()
    except redis.ResponseError:  # of a managed one, say, which has no such command
        now = float(store.time()[0])
        told: Any = store.hvals(PREFIX + "replicas")
        if any(now - json.loads(entry)["seen"] / 1000 < ALIVE_SECONDS for entry in told):
            raise StoreError(
                "this Redis cannot let writes wait: stop the control planes that run on it first",
                code="store_in_use",
            ) from None
        yield lambda: None
        return
    try:
        yield pause
    finally:
        store.client_unpause()


def _names(store: redis.Redis) -> Iterator[str]:
    """Yield the name of each key, without what all begin with."""
    seen = set(_OF_THE_STORE)
    for full in store.scan_iter(f"{PREFIX}*", count=BATCH):
        name = full.removeprefix(PREFIX)
        if name not in seen and not name.startswith(_COMING):
            seen.add(name)
            yield name


def _records(store: redis.Redis, names: list[str], under: str = PREFIX) -> Iterator[Record]:
    """Yield the records of some keys; one that has expired meanwhile is left out."""
    with store.pipeline(transaction=False) as pipeline:
        pipeline.time()
        for name in names:
            pipeline.type(under + name)
            pipeline.pttl(under + name)  # PEXPIRETIME would need Redis 7
        (seconds, microseconds), *told = pipeline.execute()
        now, types, left = 1000 * seconds + microseconds // 1000, told[::2], told[1::2]
        there = [entry for entry in zip(names, types, left, strict=True) if entry[1] != "none"]
        for name, kind, _ in there:
            _READ[kind](pipeline, under + name)
        values = pipeline.execute()
    for (name, kind, milliseconds), value in zip(there, values, strict=True):
        record = {"key": name, "type": kind, "value": _plain(kind, value)}
        yield record | ({"expires_ms": now + milliseconds} if milliseconds >= 0 else {})


_READ: dict[str, Callable[[Any, str], Any]] = {
    "string": lambda pipeline, name: pipeline.get(name),
    "hash": lambda pipeline, name: pipeline.hgetall(name),
    "list": lambda pipeline, name: pipeline.lrange(name, 0, -1),
    "set": lambda pipeline, name: pipeline.smembers(name),
    "zset": lambda pipeline, name: pipeline.zrange(name, 0, -1, withscores=True),
}


def _plain(kind: str, value: Any) -> Any:
    """Return a value as JSON has it; the members of a set in an order of their own."""
    if kind == "set":
        return sorted(value)
    return [[member, score] for member, score in value] if kind == "zset" else value


def _store_and_compare(store: redis.Redis, batch: list[Record]) -> None:
    under = PREFIX + _COMING
    with store.pipeline(transaction=False) as pipeline:
        for record in batch:
            _write(pipeline, under + record["key"], record)
        pipeline.execute()
    found = {record["key"]: record for record in _records(store, [r["key"] for r in batch], under)}
    for record in batch:
        there = found.get(record["key"])
        if there is None or any(there[part] != record[part] for part in ("type", "value")):
            raise StoreError(f"{record['key']} was not stored as it was written", code="store_unavailable")


def _write(pipeline: Any, name: str, record: Record) -> None:
    value = _raw(record["value"])
    match record["type"]:
        case "string":
            pipeline.set(name, value)
        case "hash":
            pipeline.hset(name, mapping=value)
        case "list":
            pipeline.rpush(name, *value)
        case "set":
            pipeline.sadd(name, *value)
        case "zset":
            pipeline.zadd(name, dict(value))


def _raw(value: Any) -> Any:
    """Return a value with its texts as bytes: redis-py itself would refuse those that are no UTF-8."""
    if isinstance(value, str):
        return value.encode(errors="surrogateescape")
    if isinstance(value, dict):
        return {_raw(field): _raw(text) for field, text in value.items()}
    return [_raw(item) for item in value] if isinstance(value, list) else value


def _forget_half_imported(store: redis.Redis) -> None:
    for batch in _batches(list(store.scan_iter(f"{PREFIX}{_COMING}*", count=BATCH))):
        store.delete(*batch)


def _batches(things: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(things)
    while batch := list(islice(rest, BATCH)):
        yield batch
