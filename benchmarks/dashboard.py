"""How quick the dashboard is with very many jobs: ``python -m benchmarks.dashboard``.

A few jobs go their way through a real control plane, Redis and worker (mock engine) until there is one of
each kind; copies of them, with ids, names and times of their own, make up the number. Then the calls of the
dashboard's pages are timed over HTTP, and the pages themselves in Chromium, from the click to the first row.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from playwright.sync_api import Page
from redis import Redis

from tests.browser import chromium
from tests.processes import ControlPlane, RedisServer, h2, wait_until

# Of a hundred jobs.
KINDS = {"finished": 60, "queued": 20, "failed": 12, "cancelled": 8}
OWNERS = ("ada", "grace", "rosalind")
HOURS = 24
BATCH = 500
REPEATS = 7
ASKED = 100

Timed = Callable[[], object]


class Load:
    """Copies of jobs in Redis, of every kind that :data:`KINDS` names.

    Parameters
    ----------
    store
        The Redis of the control plane.
    originals
        The id of a job of each kind.
    """

    def __init__(self, store: Redis, originals: dict[str, str]) -> None:
        self._store = store
        self._originals = originals
        self._made = len(originals)
        names = [name.decode() for name in store.scan_iter("{zpe}:*")]
        lines = [name for name in names if ":job:" not in name and store.type(name) == b"zset"]
        self._dumps = {
            job: {name: store.dump(name) for name in names if job in name} for job in originals.values()
        }
        self._scores = {
            job: {name: score for name in lines if (score := store.zscore(name, job)) is not None}
            for job in originals.values()
        }

    def grow(self, total: int) -> None:
        """Add copies until there are ``total`` jobs."""
        while self._made < total:
            with self._store.pipeline(transaction=False) as pipeline:
                for number in range(self._made, min(total, self._made + BATCH)):
                    self._copy(pipeline, number)
                pipeline.execute()
            self._made = min(total, self._made + BATCH)

    def _copy(self, pipeline: Redis, number: int) -> None:
        rng = random.Random(number)
        [kind] = rng.choices(list(KINDS), list(KINDS.values()))
        original, job, owner = (
            self._originals[kind],
            f"{rng.getrandbits(128):032x}",
            OWNERS[number % len(OWNERS)],
        )
        earlier_ms = rng.randrange(HOURS * 3600 * 1000)
        for name, dump in self._dumps[original].items():
            pipeline.restore(name.replace(original, job), 0, dump)
        changed: dict[str, object] = {"owner": owner, "name": f"run {number:06}"}
        for line, score in self._scores[original].items():
            moved = score - earlier_ms
            if line.startswith("{zpe}:index:"):
                changed["created"] = moved
                line = line.replace(":admin:", f":{owner}:")
            pipeline.zadd(line, {job: moved})
        pipeline.hset(f"{{zpe}}:job:{job}", mapping=changed)  # type: ignore[arg-type]
        if kind == "finished":
            pipeline.hincrby("{zpe}:finished", str(int((time.time() * 1000 - earlier_ms) // 60000)), 1)


def originals(plane: ControlPlane) -> dict[str, str]:
    """Let the product make a job of each kind; return their ids."""
    plane.worker("node", ZPE_MOCK_SCF_SECONDS=0.01)
    made: dict[str, str] = {}
    with plane.api() as api:

        def submit(title: str = "") -> str:
            reply = api.post("/calc/zpe/jobs", json={"content": h2(title), "calc_mode": "new", "name": "x"})
            return str(reply.raise_for_status().json()["job_id"])

        def status(job: str) -> str:
            return str(api.get(f"/calc/zpe/jobs/{job}").json()["status"])

        made["finished"] = submit()
        made["failed"] = submit("mock: fail=bad_input task=1 times=always")
        wait_until(lambda: [status(made[kind]) for kind in ("finished", "failed")] == ["finished", "failed"])
        api.patch("/calc/zpe/admin/flags", json={"dequeue_enabled": False}).raise_for_status()
        made["queued"], made["cancelled"] = submit(), submit()
        api.post(f"/calc/zpe/jobs/{made['cancelled']}/cancel").raise_for_status()
    return made


def calls(api: httpx.Client, total: int) -> dict[str, Timed]:
    """Return what the pages ask for, by what it is called in the table."""

    def get(path: str, **params: object) -> Timed:
        return lambda: api.get(path, params=params).raise_for_status()  # type: ignore[arg-type]

    jobs, page = "/calc/zpe/jobs", {"limit": 25}
    return {
        "jobs, first page": get(jobs, **page),
        "jobs, oldest first": get(jobs, order="oldest", **page),
        "jobs, by ZPE": get(jobs, order="-zpe", **page),
        "jobs, last page": get(jobs, offset=total - 25, **page),
        "jobs that wait": get(jobs, status="queued", **page),
        "jobs of one owner": get(jobs, owner="ada", **page),
        "search, one matches": get(jobs, search="run 000042", **page),
        "search, all match": get(jobs, search="h2", **page),
        "search, none matches": get(jobs, search="no such job", **page),
        "overview": get("/calc/zpe/admin/overview"),
        "dead letters": get("/calc/zpe/admin/dlq", limit=50),
        "dead letters of a reason": get("/calc/zpe/admin/dlq", limit=50, code="bad_input"),
        "metrics": get("/metrics"),
    }


def times(call: Timed) -> float:
    """Return the median of the seconds that it takes."""
    call()
    taken = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


@contextmanager
def meanwhile(plane: ControlPlane) -> Iterator[list[float]]:
    """Ask for something small all the time; yield the seconds that each answer took."""
    taken: list[float] = []
    over = threading.Event()

    def ask() -> None:
        with plane.api() as api:
            while not over.is_set():
                began = time.perf_counter()
                api.get("/readyz")
                taken.append(time.perf_counter() - began)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield taken
    finally:
        over.set()
        thread.join()


def in_browser(page: Page, plane: ControlPlane) -> dict[str, float]:
    """Return the seconds from a click, or from Enter, until the answer is seen."""
    page.set_default_timeout(60_000)
    page.goto(f"{plane.url}/dashboard/")
    page.locator("#token").fill(plane.admin_token)
    page.keyboard.press("Enter")
    page.locator("main dt").first.wait_for()

    def until(act: Timed, seen: str) -> float:
        began = time.perf_counter()
        act()
        page.locator(seen).first.wait_for()
        return time.perf_counter() - began

    def hop(place: str) -> Timed:
        return lambda: page.evaluate(f"location.hash = '{place}'")

    # Not a number yet: three dots.
    numbers = "main .tiles dd:not(:has-text('…'))"
    found = {"Jobs, opened for the first time": until(hop("#/jobs"), "main tbody tr")}
    found["Overview"] = until(lambda: hop("#/overview")(), numbers)
    found["Dead letters"] = until(hop("#/dlq"), "main tbody tr:has-text('bad_input')")
    found["Jobs"] = until(hop("#/jobs?status=cancelled"), "main tbody tr:has-text('cancelled')")
    found["Jobs, oldest first"] = until(
        hop("#/jobs?order=oldest&status=failed"), "main tbody tr:has-text('failed')"
    )
    hop("#/jobs")()
    search = page.get_by_label("Search")

    def look_for() -> None:
        search.fill("run 000042")
        page.keyboard.press("Enter")

    found["Search"] = until(look_for, "main tbody:only-of-type tr:has-text('run 000042')")
    began = time.perf_counter()
    page.reload()
    page.locator("main tbody tr").first.wait_for()
    found["Search, page loaded anew"] = time.perf_counter() - began
    return found


def measure(plane: ControlPlane, total: int, browser: bool) -> dict[str, float]:
    """Return seconds by what was done."""
    with plane.api() as api:
        search = calls(api, total)["search, none matches"]
        began = time.perf_counter()
        search()
        found = {"API: search, the first of all": time.perf_counter() - began}
        found |= {f"API: {name}": times(call) for name, call in calls(api, total).items()}
        with meanwhile(plane) as taken:
            while len(taken) < ASKED:
                search()
        found["API: the longest that another call waits during a search"] = max(taken)
    if browser:
        with chromium() as running:
            page = running.new_page(viewport={"width": 1280, "height": 900}, locale="en-GB")
            found |= {f"Browser: {name}": seconds for name, seconds in in_browser(page, plane).items()}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, nargs="+", default=[100, 100_000])
    parser.add_argument("--no-browser", action="store_true")
    options = parser.parse_args()
    columns: dict[int, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        server = RedisServer(Path(folder))
        server.start()
        plane = ControlPlane(Path(folder) / "plane", {"ZPE_REDIS_URL": server.url})
        plane.start()
        try:
            load = Load(Redis.from_url(server.url), originals(plane))
            for total in options.jobs:
                began = time.perf_counter()
                load.grow(total)
                print(f"{total} jobs after {time.perf_counter() - began:.0f} s", flush=True)
                columns[total] = measure(plane, total, not options.no_browser)
        finally:
            plane.stop()
            server.kill()
    print("| milliseconds | " + " | ".join(f"{total} jobs" for total in columns) + " |")
    print("| --- |" + " ---: |" * len(columns))
    for name in next(iter(columns.values())):
        print(f"| {name} | " + " | ".join(f"{1000 * column[name]:.0f}" for column in columns.values()) + " |")


if __name__ == "__main__":
    main()
