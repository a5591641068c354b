"""The transitions, called with the arguments that the control plane gives them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from zpe_server.store import Store, key

TTL_MS = 60_000
LATER_MS = 1_000_000_000
RETRY = {"max": 3, "base_ms": 60_000, "max_ms": 300_000, "jitter": 0.0}

Reply = dict[str, Any]


def physics(
    name: str = "p", engine: str = "espresso", files: Sequence[str] = (), version: str = "7.2"
) -> str:
    """Return a fingerprint as it is compared."""
    return json.dumps(
        {
            "engine": engine,
            "engine_version": version,
            "physics": name,
            "pseudopotentials": dict.fromkeys(files, "sha256"),
        }
    )


async def submit(
    store: Store,
    job: str,
    tasks: int = 3,
    needs: Sequence[str] = (),
    *,
    engine: str = "espresso",
    physics: str | None = None,
    **more: Any,
) -> Reply:
    needed = {"engine": engine, "environ": False, "pseudopotentials": list(needs)}
    arguments: dict[str, Any] = {
        "owner": "ann",
        "priority": 0,
        "full": tasks,
        "idempotency_key": "",
        "digest": "",
        "idempotency_ms": LATER_MS,
        "scf_keys": [],
        "copies": [],
        "reuse": False,
        "alive_ms": LATER_MS,
        "keep_ms": LATER_MS,
        "fields": {"nat": 1, "needs": json.dumps(needed)} | ({"physics": physics} if physics else {}),
    }
    return await store.transition("submit", "{}", "{}", "[]", job=job, total=tasks, **(arguments | more))


async def lease(
    store: Store, name: str, worker: str = "w1", *, files_sha256: str | None = None, **more: Any
) -> Reply:
    arguments: dict[str, Any] = {
        "instance": "",
        "ttl_ms": TTL_MS,
        "max_tasks": 10,
        "alive_ms": -1,  # whatever others there are, a share is as large as was asked for
        "warm": [],
        "warm_turns": 8,
        "slots": 1,
        "cores": 0,
        "memory_gb": 0,
        "tags": {},
        "offset": 0,
        "scan": 100,
        "engine": "espresso",
        "engine_version": "",
        "environ": False,
        "environ_input": False,
        "pseudopotentials": None,
        "digest": "d",
    }
    capabilities = json.dumps({"files_sha256": files_sha256})
    return await store.transition("lease", capabilities, worker=worker, lease=name, **(arguments | more))


async def report(
    store: Store,
    job: str,
    name: str,
    tasks: list[int],
    worker: str = "w1",
    *,
    fingerprints: Sequence[str] = (),
    setups: Sequence[str] = (),
    instance: str = "",
    run: str = "",
) -> Reply:
    """Report tasks; ``run`` tells an SCF that is run again from the one before."""
    return await store.transition(
        "report",
        *[text for task in tasks for text in (json.dumps({"task": task, "by": worker, "run": run}), "{}")],
        job=job,
        worker=worker,
        instance=instance,
        lease=name,
        atoms=[1] * len(tasks),
        keep_ms=LATER_MS,
        ttl_ms=TTL_MS,
        tasks=tasks,
        fingerprints=list(fingerprints) or [physics()] * len(tasks),
        setups=list(setups) or ["setup"] * len(tasks),
        seconds=[0.5] * len(tasks),
    )


async def fail(
    store: Store, job: str, name: str, tasks: list[int] | None, worker: str = "w1", **more: Any
) -> Reply:
    arguments: dict[str, Any] = {
        "instance": "",
        "ttl_ms": TTL_MS,
        "error": {"side": "compute", "code": "scf_not_converged", "message": "no luck"},
        "retry": RETRY,
        "class": "compute",
    }
    return await store.transition(
        "fail", job=job, worker=worker, lease=name, tasks=tasks, **(arguments | more)
    )


async def settle(store: Store, job: str, name: str, worker: str = "w1", instance: str = "") -> Reply:
    return await store.transition(
        "settle", "{}", "text", "csv", job=job, worker=worker, instance=instance, lease=name, ttl_ms=TTL_MS
    )


async def release(
    store: Store,
    job: str,
    name: str,
    worker: str = "w1",
    instance: str = "",
    tasks: list[int] | None = None,
) -> Reply:
    return await store.transition(
        "release",
        job=job,
        worker=worker,
        instance=instance,
        lease=name,
        ttl_ms=TTL_MS,
        reason="stopping",
        **({} if tasks is None else {"tasks": tasks}),
    )


async def heartbeat(store: Store, names: list[str], worker: str = "w1", instance: str = "") -> Reply:
    return await store.transition("heartbeat", worker=worker, instance=instance, leases=names, ttl_ms=TTL_MS)


async def sweep(store: Store, **more: Any) -> Reply:
    arguments = {"limit": 100, "retry": RETRY, "assemble_after_ms": LATER_MS, "patience_ms": LATER_MS} | more
    return await store.transition("sweep", **arguments)


async def decide(store: Store, name: str, job: str) -> Reply:
    """Cancel, requeue, discard or finish a job."""
    generation = await store.redis.hget(key("job", job), "generation") or "0"
    return await store.transition(name, job=job, by="ann", retire_ms=LATER_MS, generation=generation)


async def finish_failed(store: Store, job: str, doubtful: Sequence[int] = ()) -> Reply:
    error = {"side": "compute", "code": "assembly_failed", "message": "no result", "traceback": "tail"}
    generation = await store.redis.hget(key("job", job), "generation") or "0"
    return await store.transition(
        "finish_failed", job=job, error=error, generation=generation, doubtful=doubtful
    )


async def rerun(store: Store, job: str, starts: dict[int, str], generation: str | None = None) -> Reply:
    """Run SCFs again, each from the start that is given by task."""
    again = [
        {"task": task, "start": start, "misfit": 0.1, "message": "off"} for task, start in starts.items()
    ]
    now = await store.redis.hget(key("job", job), "generation") or "0"
    return await store.transition("rerun", job=job, generation=generation or now, again=again)


_DUMP = """
local out = {}
for _, name in ipairs(redis.call('KEYS', '*')) do
  local kind = redis.call('TYPE', name).ok
  local read = {
    hash = {'HGETALL', name}, zset = {'ZRANGE', name, 0, -1, 'WITHSCORES'}, set = {'SMEMBERS', name},
    list = {'LRANGE', name, 0, -1}, string = {'GET', name},
  }
  out[name] = {kind, redis.call(unpack(read[kind])), redis.call('PTTL', name)}
end
local time = redis.call('TIME')
return cjson.encode({now = time[1] * 1000 + time[2] / 1000, keys = out})
"""


class Dump:
    """All that is in Redis, read at one moment.

    Attributes
    ----------
    now
        The moment, in ms by Redis's clock.
    keys
        What each key holds: a dict of a hash or (with scores) of a sorted set, in order, a list of another.
    passing
        The keys with a time to live.
    """

    def __init__(self, text: str) -> None:
        read = json.loads(text)
        self.now: float = read["now"]
        self.keys: dict[str, Any] = {}
        self.passing = {name for name, (_, _, ttl) in read["keys"].items() if ttl != -1}
        for name, (kind, value, _) in read["keys"].items():
            pairs = kind in ("hash", "zset")
            self.keys[name] = dict(zip(value[::2], value[1::2], strict=True)) if pairs else value

    def __getitem__(self, name: tuple[str, ...]) -> Any:
        """Return what a key holds; an empty dict if there is none."""
        return self.keys.get(key(*name), {})


async def dump(store: Store) -> Dump:
    return Dump(await store.redis.eval(_DUMP, 0))
