"""The transitions, for tests: each request with what matters there, the rest as usual."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from zpe_sdk.wire import ErrorInfo
from zpe_server.store import Store, key
from zpe_server.transitions import jobs, leases, reports

TTL_MS = 60_000
LATER_MS = 1_000_000_000
RESULT_BYTES = 7
MONTH, SCF_SECONDS = "2026-11", 0.5
RETRY = leases.Retry(max=3, base_ms=60_000, max_ms=300_000, jitter=0.0)
ABLE = leases.Able(engine="espresso", environ=False, digest="d")
NO_LUCK = ErrorInfo(side="compute", code="scf_not_converged", message="no luck")


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
) -> jobs.Submitted:
    needed = {"engine": engine, "environ": False, "pseudopotentials": list(needs)}
    stage = jobs.Stage(
        total=tasks,
        full=tasks,
        fields={"nat": 1, "needs": json.dumps(needed)} | ({"physics": physics} if physics else {}),
        keep_ms=LATER_MS,
        alive_ms=LATER_MS,
    )
    stage = replace(stage, **{name: more.pop(name) for name in vars(stage) if name in more})
    request = jobs.Submit(
        job=job,
        owner="ann",
        idempotency_ms=LATER_MS,
        stage=stage,
        payload="{}",
        plan="{}",
        task_table="[]",
    )
    return await store.transition(replace(request, **more))


async def lease(
    store: Store, name: str, worker: str = "w1", *, files_sha256: str | None = None, **more: Any
) -> leases.Leased:
    """Ask for work; ``more`` are fields of the request and of what the worker is able to."""
    able = replace(ABLE, **{name: more.pop(name) for name in vars(ABLE) if name in more})
    request = leases.Lease(
        worker=worker,
        ttl_ms=TTL_MS,
        lease=name,
        max_tasks=10,
        alive_ms=-1,  # whatever others there are, a share is as large as was asked for
        warm_turns=8,
        scan=100,
        able=able,
        capabilities=json.dumps({"files_sha256": files_sha256}),
    )
    return await store.transition(replace(request, **more))


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
) -> reports.Reported:
    """Report tasks; ``run`` tells an SCF that is run again from the one before."""
    return await store.transition(
        reports.Report(
            worker=worker,
            instance=instance,
            ttl_ms=TTL_MS,
            job=job,
            lease=name,
            tasks=tasks,
            fingerprints=list(fingerprints) or [physics()] * len(tasks),
            setups=list(setups) or ["setup"] * len(tasks),
            seconds=[SCF_SECONDS] * len(tasks),
            month=MONTH,
            atoms=[1] * len(tasks),
            keep_ms=LATER_MS,
            reports=[
                text
                for task in tasks
                for text in (json.dumps({"task": task, "by": worker, "run": run}), "{}")
            ],
        )
    )


async def fail(
    store: Store, job: str, name: str, tasks: list[int] | None, worker: str = "w1", **more: Any
) -> reports.Failed:
    request = reports.Fail(
        worker=worker,
        ttl_ms=TTL_MS,
        job=job,
        lease=name,
        tasks=tasks,
        failure="compute",
        error=NO_LUCK,
        retry=RETRY,
    )
    return await store.transition(replace(request, **more))


async def settle(
    store: Store, job: str, name: str, worker: str = "w1", instance: str = ""
) -> reports.Settled:
    return await store.transition(
        reports.Settle(
            worker=worker,
            instance=instance,
            ttl_ms=TTL_MS,
            job=job,
            lease=name,
            result="{}",
            summary="text",
            freqs="csv",
        )
    )


async def release(
    store: Store, job: str, name: str, worker: str = "w1", instance: str = "", tasks: list[int] | None = None
) -> leases.Released:
    return await store.transition(
        leases.Release(
            worker=worker,
            instance=instance,
            ttl_ms=TTL_MS,
            job=job,
            lease=name,
            reason="stopping",
            tasks=tasks,
        )
    )


async def heartbeat(store: Store, names: list[str], worker: str = "w1", instance: str = "") -> leases.Beats:
    return await store.transition(
        leases.Heartbeat(worker=worker, instance=instance, ttl_ms=TTL_MS, leases=names)
    )


async def sweep(store: Store, **more: Any) -> leases.Swept:
    request = leases.Sweep(limit=100, retry=RETRY, assemble_after_ms=LATER_MS, patience_ms=LATER_MS)
    return await store.transition(replace(request, **more))


async def generation(store: Store, job: str) -> str:
    return await store.redis.hget(key("job", job), "generation") or "0"


async def cancel(store: Store, job: str, *, retire_ms: int = LATER_MS) -> jobs.Cancelled:
    return await store.transition(jobs.Cancel(job=job, by="ann", retire_ms=retire_ms))


async def requeue(store: Store, job: str) -> jobs.Requeued:
    return await store.transition(jobs.Requeue(job=job, by="ann"))


async def discard(store: Store, job: str, *, retire_ms: int = LATER_MS) -> jobs.Discarded:
    return await store.transition(jobs.Discard(job=job, by="ann", retire_ms=retire_ms))


async def finish(store: Store, job: str, *, retire_ms: int = LATER_MS) -> jobs.Finished:
    return await store.transition(
        jobs.Finish(
            job=job,
            bytes=RESULT_BYTES,
            generation=await generation(store, job),
            retire_ms=retire_ms,
            zpe_ev="0.25",
        )
    )


async def finish_failed(store: Store, job: str, doubtful: Sequence[int] = ()) -> jobs.FinishedFailed:
    error = ErrorInfo(side="compute", code="assembly_failed", message="no result", traceback="tail")
    return await store.transition(
        jobs.FinishFailed(job=job, generation=await generation(store, job), error=error, doubtful=doubtful)
    )


async def rerun(store: Store, job: str, starts: dict[int, str], made_of: str | None = None) -> jobs.Rerunning:
    """Run SCFs again, each from the start that is given by task; ``made_of`` is a generation."""
    return await store.transition(
        jobs.Rerun(
            job=job,
            generation=made_of or await generation(store, job),
            again=[
                {"task": task, "start": start, "misfit": 0.1, "message": "off"}
                for task, start in starts.items()
            ],
        )
    )


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
