"""Workers of researchers: whose jobs they run, who decides that, and what others see."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.processes import ControlPlane, h2
from tests.server.calls import lease, submit
from zpe_server.store import Store, key
from zpe_server.transitions.base import items
from zpe_server.transitions.researchers import Regroup
from zpe_server.transitions.service import ReadDispatch
from zpe_server.transitions.workers import Accept

Json = dict[str, Any]
COMPUTE = "/calc/zpe/compute"


@pytest.fixture
async def store(store: Store) -> Store:
    """With a worker that is nobody's, one of ann and one of bob."""
    for name, owner in (("shared", None), ("anns", "ann"), ("bobs", "bob")):
        await store.redis.hset(key("worker", name), mapping={"name": name})
        if owner:
            await store.redis.hset(key("worker", name), mapping={"owner": owner, "accepts": "own"})
            await store.redis.sadd(key("owned"), name)
    return store


async def given(store: Store, worker: str, count: int = 1, **more: Any) -> list[str | None]:
    """Ask for one task at a time; return the jobs they are of."""
    first = await store.redis.incrby(key("asked"), count)
    return [
        (await lease(store, f"l{first + n}", worker, max_tasks=1, **more)).get("job") for n in range(count)
    ]


@pytest.mark.anyio
async def test_a_worker_of_ones_own_runs_nobody_elses_jobs(store: Store) -> None:
    await submit(store, "bobs1", owner="bob")
    assert await lease(store, "l", "anns") == {"blocked": True}
    assert await given(store, "bobs") == ["bobs1"]
    assert await given(store, "shared") == ["bobs1"]


@pytest.mark.anyio
async def test_a_worker_runs_its_owners_jobs_first(store: Store) -> None:
    await store.transition(Accept(worker="anns", by="ann", accepts="all"))
    await submit(store, "bobs1", tasks=2, owner="bob", priority=5)
    await submit(store, "anns1", tasks=2)
    assert await given(store, "anns", 4) == ["anns1", "anns1", "bobs1", "bobs1"]


@pytest.mark.anyio
async def test_a_job_behind_hundreds_of_others_is_found_by_its_owners_worker(store: Store) -> None:
    async with store.redis.pipeline() as pipeline:
        for n in range(500):
            pipeline.zadd(key("ready"), {f"x{n}": -n - 1})
        await pipeline.execute()
    await submit(store, "anns1", tasks=1)
    assert await given(store, "anns", scan=10) == ["anns1"]


@pytest.mark.anyio
async def test_what_ones_own_worker_does_costs_no_turns(store: Store) -> None:
    for n in range(40):
        await submit(store, f"anns{n:02}", tasks=1)
    assert len(set(await given(store, "anns", 30))) == 30
    await submit(store, "carols", tasks=1, owner="carol")
    await submit(store, "anns-new", tasks=1)
    # The clock of the others has not moved, and ann has asked them for ten tasks only.
    turns = {n: int(await store.redis.hget(key("job", n), "turn")) for n in ("carols", "anns-new")}
    assert turns == {"carols": 0, "anns-new": 10}


@pytest.mark.anyio
async def test_the_jobs_of_others_are_looked_at_where_ones_own_end(store: Store) -> None:
    await store.transition(Accept(worker="anns", by="ann", accepts="all"))
    for n in range(3):  # of another program: this worker cannot run them
        await submit(store, f"anns{n}", engine="mock")
        await submit(store, f"bobs{n}", engine="mock", owner="bob")
    await submit(store, "bobs3", tasks=1, owner="bob")
    offset, seen = 0, []
    while True:
        reply = await lease(store, f"at {offset}", "anns", scan=2, offset=offset)
        seen.append(offset)
        if "next" not in reply:
            break
        offset = reply["next"]
    assert reply["job"] == "bobs3"
    assert seen == [0, 2, 4, 6, 8]


@pytest.mark.anyio
async def test_a_group_shares_the_workers_that_accept_it(store: Store) -> None:
    await store.transition(Accept(worker="anns", by="ann", accepts="group"))
    await submit(store, "bobs1", owner="bob")
    assert await given(store, "anns") == [None]
    reply = await store.transition(Regroup(group="surfaces", add=["ann", "bob"]))
    assert sorted(items(reply["members"])) == ["ann", "bob"]
    assert await given(store, "anns") == ["bobs1"]
    assert await given(store, "bobs", 1) == ["bobs1"]
    await submit(store, "anns1")
    assert await given(store, "bobs", 3) == ["bobs1", None, None]  # bob's takes bob's alone
    await store.transition(Regroup(group="surfaces", remove=["ann"]))
    await submit(store, "bobs2", owner="bob")
    assert await given(store, "anns", 4) == ["anns1"] * 3 + [None]


@pytest.mark.anyio
async def test_the_machine_may_take_less_than_its_owner_lets_it_but_not_more(store: Store) -> None:
    await submit(store, "bobs1", owner="bob")
    assert await given(store, "anns", accepts="all") == [None]
    await store.transition(Accept(worker="anns", by="ann", accepts="all"))
    assert await given(store, "anns", accepts="own") == [None]
    assert await given(store, "anns", accepts="all") == ["bobs1"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("only", "takers"),
    [
        ('{"mine": true}', {"anns"}),
        ('{"workers": {"shared": true}}', {"shared"}),
        ('{"workers": {"bobs": true}}', set()),  # bob does not take it
        ('{"group": "surfaces"}', set()),
        (None, {"anns", "shared"}),
    ],
)
async def test_a_job_goes_only_where_its_owner_wants_it(
    store: Store, only: str | None, takers: set[str]
) -> None:
    await store.transition(Regroup(group="surfaces", add=["ann", "bob"]))
    await submit(store, "anns1", only=only)
    found = {worker for worker in ("shared", "anns", "bobs") if (await given(store, worker)) == ["anns1"]}
    assert found == takers


@pytest.mark.anyio
async def test_a_job_for_a_group_goes_to_the_workers_that_it_shares(store: Store) -> None:
    await store.transition(Regroup(group="surfaces", add=["ann", "bob"]))
    await store.transition(Accept(worker="bobs", by="bob", accepts="group"))
    await submit(store, "anns1", only='{"group": "surfaces"}')
    assert await given(store, "shared") == [None]
    assert await given(store, "bobs") == ["anns1"]


@pytest.mark.anyio
async def test_rq_is_not_offered_what_is_for_some_workers_alone(store: Store) -> None:
    await submit(store, "anywhere")
    await submit(store, "mine", only='{"mine": true}')
    assert (await store.transition(ReadDispatch()))["ready"] == ["anywhere"]


@pytest.mark.anyio
async def test_a_share_is_made_for_the_workers_that_may_run_the_job(store: Store) -> None:
    for worker in ("shared", "anns", "bobs"):
        await given(store, worker)
    await submit(store, "anns1", tasks=12, only='{"mine": true}')
    reply = await lease(store, "mine", "anns", max_tasks=100, alive_ms=60_000)
    assert len(reply["tasks"]) == 12
    await submit(store, "anns2", tasks=12)
    reply = await lease(store, "any", "shared", max_tasks=100, alive_ms=60_000)
    assert len(reply["tasks"]) == 6  # bob's worker gets none


# ---------------------------------------------------------------------------------- over the HTTP API


@pytest.fixture(scope="module")
def plane_settings() -> Json:
    return {"ZPE_USER_WORKERS": "all"}


def error(reply: httpx.Response, status: int) -> str:
    assert reply.status_code == status, reply.text
    return str(reply.json()["error"]["code"])


def enrolled(plane: ControlPlane, api: httpx.Client, name: str, **more: Any) -> Json:
    """Enrol a worker with a token that is minted by the caller of ``api``; return what it is told."""
    minted = api.post(f"{COMPUTE}/enroll-tokens", json=more).raise_for_status().json()
    reply = httpx.post(
        f"{plane.url}{COMPUTE}/servers/register", json={"token": minted["token"], "name": name}
    )
    return dict(reply.raise_for_status().json())


def leased(plane: ControlPlane, node: Json) -> str | None:
    """Ask for work as this worker; return the job."""
    with plane.api(node["worker_token"]) as worker:
        reply = worker.post(
            f"{COMPUTE}/jobs/lease", json={"max_tasks": 1, "capabilities": {"engine": "mock"}}
        )
    return reply.json()["job_id"] if reply.status_code == 200 else None


def submitted(api: httpx.Client, **more: Any) -> str:
    reply = api.post("/calc/zpe/jobs", json={"content": h2(), "calc_mode": "new"} | more)
    assert reply.status_code == 200, reply.text
    return str(reply.json()["job_id"])


@pytest.fixture
def people(control_plane: ControlPlane) -> Iterator[Any]:
    """A control plane with nothing in it, and three who call it."""
    plane = control_plane
    ann, bob = (plane.api(plane.researcher_token(name)) for name in ("ann", "bob"))
    with ann, bob, plane.api() as admin:
        yield plane, ann, bob, admin
        for job in admin.get("/calc/zpe/jobs", params={"limit": 1000}).json()["jobs"]:
            admin.post(f"/calc/zpe/jobs/{job['job_id']}/cancel")
        for node in admin.get(f"{COMPUTE}/servers").json()["workers"]:
            admin.delete(f"{COMPUTE}/servers/{node['server_id']}")
        for group in admin.get("/calc/zpe/admin/groups").json()["groups"]:
            admin.patch(f"/calc/zpe/admin/groups/{group['name']}", json={"remove": group["members"]})


def test_a_researcher_enrols_a_worker_of_their_own(people: Any) -> None:
    plane, ann, bob, admin = people
    node = enrolled(plane, ann, "anns-pc", label="desk")
    assert (node["owner"], node["accepts"]) == ("ann", "own")
    bobs, anns = submitted(bob), submitted(ann)
    assert leased(plane, node) == anns
    assert bob.get(f"/calc/zpe/jobs/{bobs}").json()["detail"] == (
        "1 worker, none takes jobs of others than its owner"
    )
    assert [w["name"] for w in ann.get(f"{COMPUTE}/servers").json()["workers"]] == ["anns-pc"]
    assert bob.get(f"{COMPUTE}/servers").json()["workers"] == []
    [listed] = admin.get(f"{COMPUTE}/servers").json()["workers"]
    assert (listed["owner"], listed["accepts"]) == ("ann", "own")


def test_nobody_decides_about_the_worker_of_another(people: Any) -> None:
    plane, ann, bob, _ = people
    node = enrolled(plane, ann, "anns-pc")
    path = f"{COMPUTE}/servers/{node['server_id']}"
    assert error(bob.patch(path, json={"accepts": "all"}), 404) == "worker_not_found"
    assert error(bob.post(f"{path}/drain", json={}), 404) == "worker_not_found"
    assert error(bob.delete(path), 404) == "worker_not_found"
    assert error(ann.delete(path, params={"and_its_results": True}), 403) == "forbidden"
    token = ann.post(f"{COMPUTE}/enroll-tokens", json={}).json()
    [mine] = ann.get(f"{COMPUTE}/enroll-tokens").json()["enroll_tokens"]
    assert token["token"] not in str(mine)
    assert bob.get(f"{COMPUTE}/enroll-tokens").json()["enroll_tokens"] == []
    assert error(bob.delete(f"{COMPUTE}/enroll-tokens/{mine['token_id']}"), 404) == "token_not_found"
    # The worker's own token does not decide either: a stolen one opens the machine to nobody.
    with plane.api(node["worker_token"]) as worker:
        assert error(worker.patch(path, json={"accepts": "all"}), 403) == "forbidden"
    bobs = submitted(bob)
    assert leased(plane, node) is None
    assert ann.patch(path, json={"accepts": "all"}).json() == {"ok": True}
    assert leased(plane, node) == bobs
    assert ann.delete(path).json()["revoked_count"] == 1


def test_only_as_much_is_accepted_as_the_administrator_allows(
    own_control_plane: Callable[..., ControlPlane],
) -> None:
    plane = own_control_plane(ZPE_USER_WORKERS="group")
    with plane.api(plane.researcher_token("ann")) as ann, plane.api() as admin:
        refused = ann.post(f"{COMPUTE}/enroll-tokens", json={"accepts": "all"})
        assert error(refused, 403) == "accepts_too_wide"
        assert error(ann.post(f"{COMPUTE}/enroll-tokens", json={"owner": "bob"}), 403) == "forbidden"
        node = enrolled(plane, ann, "anns-pc", accepts="group")
        path = f"{COMPUTE}/servers/{node['server_id']}"
        assert error(ann.patch(path, json={"accepts": "all"}), 403) == "accepts_too_wide"
        assert admin.patch(path, json={"accepts": "all"}).status_code == 200
        assert ann.patch(path, json={"accepts": "own"}).status_code == 200
        shared = enrolled(plane, admin, "shared")
        assert (shared["owner"], shared["accepts"]) == (None, "all")
        refused = admin.patch(f"{COMPUTE}/servers/{shared['server_id']}", json={"accepts": "own"})
        assert error(refused, 409) == "no_owner"
        assert error(admin.post(f"{COMPUTE}/enroll-tokens", json={"accepts": "own"}), 409) == "no_owner"
        of_bob = enrolled(plane, admin, "bobs-pc", owner="bob", accepts="all")
        assert (of_bob["owner"], of_bob["accepts"]) == ("bob", "all")


def test_without_the_administrators_word_nobody_enrols_workers(
    own_control_plane: Callable[..., ControlPlane],
) -> None:
    plane = own_control_plane()
    with plane.api(plane.researcher_token("ann")) as ann:
        assert error(ann.post(f"{COMPUTE}/enroll-tokens", json={}), 403) == "user_workers_off"
    plane = own_control_plane(ZPE_USER_WORKERS="all", ZPE_RESEARCHER_AUTH="false")
    # Who comes without a token is everybody.
    assert error(httpx.post(f"{plane.url}{COMPUTE}/enroll-tokens", json={}), 403) == "forbidden"
    assert httpx.get(f"{plane.url}{COMPUTE}/servers").json() == {"workers": []}


def test_what_a_job_waits_for_is_told_of_ones_own_and_of_others(people: Any) -> None:
    plane, ann, bob, admin = people
    mine = enrolled(plane, ann, "anns-pc")
    for n in range(4):
        assert leased(plane, enrolled(plane, bob, f"bobs{n}")) is None
    first, second = submitted(ann), submitted(ann)
    assert leased(plane, mine) == first
    detail = ann.get(f"/calc/zpe/jobs/{second}").json()["detail"]
    assert detail == "your 1 worker is busy; 4 of others may not take it"
    bobs = submitted(bob, where="mine")
    detail = bob.get(f"/calc/zpe/jobs/{bobs}").json()["detail"]
    assert detail == "your 4 workers are busy; 1 of others may not take it"
    admins = submitted(admin, where="mine")
    detail = admin.get(f"/calc/zpe/jobs/{admins}").json()["detail"]
    assert detail == "it is for workers of your own, and none has enrolled"


def test_a_job_chooses_among_the_workers_that_take_it(people: Any) -> None:
    plane, ann, bob, admin = people
    mine, shared = enrolled(plane, ann, "pc"), enrolled(plane, admin, "shared")
    enrolled(plane, bob, "bobs-pc")
    for name in ("bobs-pc", "nowhere", "surfaces"):
        refused = ann.post("/calc/zpe/jobs", json={"content": h2(), "where": name})
        assert error(refused, 422) == "unknown_target"
        assert refused.json()["error"]["field"] == "where"
    admin.patch("/calc/zpe/admin/groups/surfaces", json={"add": ["ann"]}).raise_for_status()
    there = submitted(ann, where="shared")
    assert leased(plane, mine) is None
    assert leased(plane, shared) == there
    detail = ann.get(f"/calc/zpe/jobs/{there}/detail").json()
    assert detail["where"] == "shared"
    assert submitted(ann, where=mine["server_id"]) == leased(plane, mine)
    assert ann.post("/calc/zpe/jobs", json={"content": h2(), "where": "surfaces"}).status_code == 200


def test_the_targets_of_the_web_interface(people: Any) -> None:
    plane, ann, bob, admin = people
    targets, select = f"{COMPUTE}/targets", f"{COMPUTE}/targets/select"
    shared, mine = enrolled(plane, admin, "shared"), enrolled(plane, ann, "pc")
    foreign = enrolled(plane, bob, "bobs-pc")
    found = ann.get(targets).json()
    assert [t["target_id"] for t in found["targets"]] == [mine["server_id"], shared["server_id"]]
    assert {"target_id", "queue_name", "server_id", "registered_at", "name"} <= set(found["targets"][0])
    assert [t["mine"] for t in found["targets"]] == [True, False]
    assert found["active_target_id"] is None
    assert error(ann.post(select, json={"target_id": foreign["server_id"]}), 422) == "unknown_target"
    chosen = ann.post(select, json={"target_id": shared["server_id"]}).json()
    assert chosen == {"active_target_id": shared["server_id"]}
    assert ann.get(targets).json()["active_target_id"] == shared["server_id"]
    assert bob.get(targets).json()["active_target_id"] is None
    job = submitted(ann)  # says nothing of where
    assert leased(plane, mine) is None
    assert leased(plane, shared) == job
    assert submitted(ann, where="mine") == leased(plane, mine)
    # A machine that has left is not silently replaced.
    admin.delete(f"{COMPUTE}/servers/{shared['server_id']}").raise_for_status()
    assert error(ann.post("/calc/zpe/jobs", json={"content": h2()}), 422) == "unknown_target"
    assert ann.post(select, json={"target_id": "any"}).json() == {"active_target_id": None}
    assert submitted(ann)


def test_a_group_sees_the_jobs_of_those_who_show_them(people: Any) -> None:
    _, ann, bob, admin = people
    job = submitted(ann)
    admin.patch("/calc/zpe/admin/groups/surfaces", json={"add": ["ann", "bob"]}).raise_for_status()
    path = f"/calc/zpe/jobs/{job}"
    assert error(bob.get(path), 404) == "job_not_found"
    assert bob.get("/calc/zpe/jobs", params={"owner": "ann"}).json() == {"jobs": [], "total": 0}
    me = ann.patch("/calc/zpe/me", json={"shows_jobs": True}).json()
    assert (me["name"], me["role"], me["groups"]) == ("ann", "researcher", ["surfaces"])
    assert me["shows_jobs"]
    assert bob.get(path).json()["owner"] == "ann"
    assert bob.get(f"{path}/detail").json()["content"] == h2()
    shown = bob.get("/calc/zpe/jobs", params={"owner": "ann", "status": "queued"}).json()
    assert [found["job_id"] for found in shown["jobs"]] == [job]
    assert all(found["owner"] == "bob" for found in bob.get("/calc/zpe/jobs").json()["jobs"])
    # To see is not to decide.
    assert error(bob.post(f"{path}/cancel"), 403) == "forbidden"
    assert error(bob.post(f"{path}/requeue"), 403) == "forbidden"
    assert error(ann.get("/calc/zpe/admin/groups"), 403) == "forbidden"
    admin.patch("/calc/zpe/admin/groups/surfaces", json={"remove": ["bob"]}).raise_for_status()
    assert error(bob.get(path), 404) == "job_not_found"
    assert admin.get("/calc/zpe/admin/groups").json() == {
        "groups": [{"name": "surfaces", "members": ["ann"]}]
    }
    assert error(admin.patch("/calc/zpe/admin/groups/mine", json={"add": ["ann"]}), 422) == "bad_choice"
    assert admin.patch("/calc/zpe/admin/groups/a:b", json={"add": ["ann"]}).status_code == 422


def test_a_waiting_worker_hears_that_it_may_take_more(people: Any) -> None:
    plane, ann, bob, _ = people
    node = enrolled(plane, ann, "anns-pc")
    bobs = submitted(bob)
    assert leased(plane, node) is None
    ann.patch(f"{COMPUTE}/servers/{node['server_id']}", json={"accepts": "all"}).raise_for_status()
    assert leased(plane, node) == bobs


def test_quotas_are_told_with_what_is_reached_and_by_whose_word(
    own_control_plane: Callable[..., ControlPlane],
) -> None:
    plane = own_control_plane(ZPE_QUOTA_JOBS=2, ZPE_QUOTA_SCFS=1, ZPE_QUOTA_BYTES=10**7)
    with plane.api(plane.researcher_token("ann")) as ann, plane.api() as admin:
        first, second = submitted(ann), submitted(ann)
        over = ann.post("/calc/zpe/jobs", json={"content": h2()})
        assert error(over, 429) == "quota_jobs"
        assert "you have 2 jobs queued or started, as many as you may" in over.json()["detail"]
        shared = enrolled(plane, admin, "shared"), enrolled(plane, admin, "other")
        assert leased(plane, shared[0]) == first
        assert leased(plane, shared[1]) is None
        detail = ann.get(f"/calc/zpe/jobs/{second}").json()["detail"]
        assert detail.endswith("you run as many SCFs on workers of others as you may")
        admins = [submitted(admin) for _ in range(3)]  # who sets the limits has none
        assert leased(plane, shared[0]) in admins
        assert leased(plane, shared[1]) in admins

        owners = "/calc/zpe/admin/owners"
        said = admin.put(f"{owners}/ann/limits", json={"jobs": 3, "bytes": 1}).raise_for_status().json()
        assert said["limits"] == {"priority": 0, "jobs": 3, "scfs": 1, "bytes": 1}
        assert said["own_limits"] == {"priority": None, "jobs": 3, "scfs": None, "bytes": 1}
        over = ann.post("/calc/zpe/jobs", json={"content": h2()})
        assert error(over, 429) == "quota_bytes"
        me = ann.get("/calc/zpe/me").json()
        assert me["limits"] == said["limits"]
        assert "own_limits" not in me
        assert admin.get(owners).json()["owners"] == [said | {"usage": me["usage"]}]
        assert error(ann.get(owners), 403) == "forbidden"
        admin.put(f"{owners}/ann/limits", json={}).raise_for_status()
        assert ann.get("/calc/zpe/me").json()["limits"]["bytes"] == 10**7
