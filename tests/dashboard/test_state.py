"""The states behind the pages, without a browser, against a real control plane and worker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.processes import PATIENCE, ControlPlane, h2, wait_until
from zpe_dashboard.route import Route
from zpe_dashboard.state.dead import DeadLetters
from zpe_dashboard.state.desk import Desk
from zpe_dashboard.state.fleet import Leases, Workers
from zpe_dashboard.state.jobs import PAGE, JobInside, Jobs
from zpe_dashboard.state.new import NewJob, indices_of
from zpe_dashboard.state.overview import Overview
from zpe_dashboard.state.researchers import Researchers, typed
from zpe_dashboard.state.tokens import Audit, Tokens
from zpe_sdk import AsyncZPEClient, InputError, ZPEClient
from zpe_sdk.ranges import ranges
from zpe_sdk.wire import JobRequest, Limits, RelaxOptions, Requirements

Plane = Callable[..., ControlPlane]
NEVER = "mock: fail=scf_not_converged task=2 times=always"
BAD = "mock: fail=bad_input task=1 times=always"


@pytest.fixture
def plane(own_control_plane: Plane) -> ControlPlane:
    return own_control_plane(ZPE_RETRY_MAX=1, ZPE_RETRY_BASE_DELAY_SECONDS=0)


@pytest.fixture
def admin(plane: ControlPlane) -> Iterator[ZPEClient]:
    with ZPEClient(plane.url, plane.admin_token) as client:
        yield client


def looking(plane: ControlPlane, look: Callable[[AsyncZPEClient], Any]) -> Any:
    """Run something with a client of the kind that the dashboard has."""

    async def run() -> Any:
        async with AsyncZPEClient(plane.url, plane.admin_token, retry_seconds=0) as client:
            return await look(client)

    return asyncio.run(run())


def over(admin: ZPEClient, job_id: str) -> bool:
    return admin.job(job_id).status().status in ("finished", "failed", "cancelled")


def test_the_overview_counts_and_says_who_waits_the_longest(plane: ControlPlane, admin: ZPEClient) -> None:
    async def look(client: AsyncZPEClient) -> None:
        overview = Overview(client)
        await overview.refresh()
        assert (overview.queued, overview.workers_alive, overview.oldest) == (0, 0, None)
        first = await client.submit(h2(), name="first")
        await client.submit(h2(), calc_mode="new")
        await overview.refresh()
        assert overview.queued == 2
        assert overview.oldest is not None
        assert overview.oldest.job_id == first.id
        await overview.set_flag("submission_enabled", False)
        assert overview.flags.submission_enabled is False
        assert overview.flags.dequeue_enabled is True
        assert [sample[1] for sample in overview.samples] == [0, 2]

    looking(plane, look)
    plane.worker()
    wait_until(lambda: all(over(admin, job.id) for job in admin.jobs()))

    async def look_later(client: AsyncZPEClient) -> None:
        overview = Overview(client)
        await overview.refresh()
        assert (overview.queued, overview.started, overview.dead) == (0, 0, 0)
        assert (overview.workers_alive, overview.workers) == (1, 1)
        assert overview.finished_last_hour == 2
        assert len(overview.by_hour) == 24
        assert overview.by_hour[-1] == (0, 2, 0)

    looking(plane, look_later)


def test_jobs_come_in_pages_and_by_filters(plane: ControlPlane) -> None:
    async def look(client: AsyncZPEClient) -> None:
        submitted = [(await client.submit(h2(), name=f"run {n}")).id for n in range(PAGE + 2)]
        await client.job(submitted[0]).cancel()
        jobs = Jobs(client)
        await jobs.refresh()
        assert [job.job_id for job in jobs.jobs] == submitted[::-1][:PAGE]
        assert (jobs.total, jobs.pages) == (PAGE + 2, 2)

        jobs.open("", {"page": "2", "status": "no such state"})
        await jobs.refresh()
        assert [job.job_id for job in jobs.jobs] == submitted[1::-1]

        jobs.open("", {"order": "oldest"})
        await jobs.refresh()
        assert [job.job_id for job in jobs.jobs] == submitted[:PAGE]
        assert jobs.filters["order"] == "oldest"
        jobs.open("", {"order": "oldest", "search": "run 1"})
        await jobs.refresh()
        assert [job.name for job in jobs.jobs][:3] == ["run 1", "run 10", "run 11"]

        jobs.open("", {"order": "by luck"})
        jobs.narrow(status="cancelled")
        assert {name: value for name, value in jobs.filters.items() if value} == {"status": "cancelled"}
        await jobs.refresh()
        assert [job.job_id for job in jobs.jobs] == submitted[:1]

        jobs.open("", {"search": "RUN 7"})
        await jobs.refresh()
        assert [job.name for job in jobs.jobs] == ["run 7"]

    looking(plane, look)


def test_a_job_from_inside_and_again(plane: ControlPlane, admin: ZPEClient) -> None:
    plane.worker()
    job = admin.submit(h2(), name="hydrogen", delta=0.02, temperature=300.0).wait(PATIENCE, progress=False)

    async def look(client: AsyncZPEClient) -> None:
        inside = JobInside(client)
        inside.open(job.id, {})
        await inside.refresh()
        assert inside.detail is not None
        assert inside.result is not None
        assert [task.state for task in inside.detail.tasks] == ["done"] * 3
        assert inside.result.document.delta == 0.02

        inside.open(await inside.resubmit(), {})
        assert (inside.detail, inside.result, inside.loaded) == (None, None, False)

    looking(plane, look)


def test_a_job_is_submitted_again_with_all_its_settings(control_plane: ControlPlane) -> None:
    request = JobRequest(
        content=h2("again"),
        mobile_indices=[1],
        use_environ=True,
        input_dir="runs/h2",
        calc_mode="new",
        structure_id="h2-17",
        delta=0.02,
        low_cut_cm=12.5,
        temperature=77.0,
        symmetry=False,
        name="hydrogen",
        priority=7,
        requires=Requirements(tags=["gpu"], cores=4, memory_gb=1.5),
        engine="espresso",
        verify=1.0,
        environ="&ENVIRON\n environ_type = 'water'\n/\n&BOUNDARY\n/\n",
        allow_state_changes=True,
        relax=RelaxOptions(fmax=0.01, steps=50),
        project="screening",
        tags=["light"],
        note="as before",
        keep=True,
        where="any",
    )
    left_open = [
        name for name, field in JobRequest.model_fields.items() if getattr(request, name) == field.default
    ]
    # Other kinds of jobs do not vibrate, a relaxation does not lead to a saddle point, and again is not once.
    assert left_open == ["kind", "expect", "once"]
    with control_plane.api() as api:
        job_id = api.post("/calc/zpe/jobs", json=request.model_dump()).raise_for_status().json()["job_id"]

    async def look(client: AsyncZPEClient) -> None:
        inside = JobInside(client)
        inside.open(job_id, {})
        again = await inside.resubmit()
        assert again != job_id
        for job in (job_id, again):
            detail = await client.job(job).detail()
            assert JobRequest.model_validate(dict(detail)) == request
            assert len(detail.tasks) == 1  # the relaxation comes first

    looking(control_plane, look)


def test_what_a_request_leaves_open_is_decided_once(plane: ControlPlane, admin: ZPEClient) -> None:
    job = admin.submit(h2())
    plane.stop()
    plane.settings["ZPE_DELTA"] = 0.03
    plane.start()
    again = job.resubmit()
    assert (job.detail().delta, again.detail().delta) == (0.01, 0.01)
    assert again.detail().symmetry
    assert len(again.detail().tasks) == len(job.detail().tasks)


def test_the_dead_by_reason(plane: ControlPlane, admin: ZPEClient) -> None:
    plane.worker("node")
    lost = [admin.submit(h2(NEVER), calc_mode="new").id for _ in range(2)]
    bad = admin.submit(h2(BAD), calc_mode="new").id
    wait_until(lambda: all(over(admin, job) for job in [*lost, bad]))

    async def look(client: AsyncZPEClient) -> None:
        dead = DeadLetters(client)
        await dead.refresh()
        assert [(reason.side, reason.code, reason.count) for reason in dead.reasons] == [
            ("compute", "scf_not_converged", 2),
            ("input", "bad_input", 1),
        ]
        assert dead.total == 3
        overview = Overview(client)
        await overview.refresh()
        assert (overview.dead, overview.by_hour[-1]) == (3, (0, 0, 3))
        dead.open("", {"code": "scf_not_converged"})
        await dead.refresh()
        assert {job.job.job_id for job in dead.jobs} == set(lost)
        attempts = dead.jobs[0].attempts
        assert len(attempts) == 2
        assert {attempt.worker for attempt in attempts} == {"node"}
        assert all("Traceback" in (attempt.traceback or "") for attempt in attempts)

        dead.chosen = [lost[0]]
        await dead.discard(list(dead.chosen))
        await dead.refresh()
        assert dead.chosen == []
        assert [job.job.job_id for job in dead.jobs] == lost[1:]
        await dead.requeue(code="scf_not_converged")
        assert not (await client.job(lost[1]).status()).in_dlq

    looking(plane, look)


def test_workers_and_their_leases(plane: ControlPlane, admin: ZPEClient) -> None:
    plane.worker("slow", ZPE_MOCK_SCF_SECONDS=600, ZPE_SLOTS=1)
    admin.submit(h2())
    wait_until(lambda: bool(admin.admin.leases().leases))

    async def look(client: AsyncZPEClient) -> None:
        workers, leases = Workers(client), Leases(client)
        await workers.refresh()
        await leases.refresh()
        [worker], [lease] = workers.workers, leases.leases
        assert worker.leases == [lease.lease_id]
        assert lease.expires_in_seconds > 500
        await workers.drain(worker.server_id, drain=True)
        await leases.release(lease.lease_id)
        await workers.refresh()
        await leases.refresh()
        assert workers.workers[0].draining
        assert leases.leases == []
        await workers.revoke(worker.server_id)
        await workers.refresh()
        assert workers.workers == []

    looking(plane, look)


def test_workers_are_found_by_words_and_state_and_several_drained_at_once(plane: ControlPlane) -> None:
    for name, tags in (("pc-1", "bigmem,lab"), ("pc-2", "lab")):
        plane.worker(name, ZPE_TAGS=tags)

    async def look(client: AsyncZPEClient) -> None:
        workers = Workers(client)

        async def names(**filters: str) -> list[str]:
            workers.narrow(**filters)
            await workers.refresh()
            return sorted(worker.name for worker in workers.workers)

        while await names(search="lab", status="alive") != ["pc-1", "pc-2"]:
            await asyncio.sleep(0.1)
        assert await names(search="BigMem") == ["pc-1"]
        assert await names(search="lab", status="draining") == []
        await names(status="")
        workers.chosen = [worker.server_id for worker in workers.workers]
        await workers.drain(*workers.chosen, drain=True)
        assert await names(status="draining") == ["pc-1", "pc-2"]
        assert workers.filters == {"search": "lab", "status": "draining", "page": ""}
        await workers.revoke(workers.chosen[0])
        assert len(await names(status="")) == 1
        assert len(workers.chosen) == 1  # what is no more is not chosen

    looking(plane, look)


def test_a_token_is_shown_once_with_the_command_for_it(control_plane: ControlPlane) -> None:
    async def look(client: AsyncZPEClient) -> None:
        tokens = Tokens(client)
        await tokens.mint_enroll(" lab-pc-3 ", 8, "https://zpe.example.org/a b")
        assert tokens.minted.startswith("zpee_")
        assert "zpe worker --url 'https://zpe.example.org/a b'" in tokens.commands["terminal"]
        assert not any(tokens.minted in command for command in tokens.commands.values())
        await tokens.refresh()
        [open_one] = tokens.enroll_tokens
        assert open_one.label == "lab-pc-3"
        assert tokens.minted not in repr(tokens)
        tokens.forget()
        assert (tokens.minted, tokens.commands) == ("", {})
        await tokens.revoke_enroll(open_one.token_id)

        await tokens.mint_person("ann", "researcher", "", None, "https://zpe.example.org")
        async with AsyncZPEClient(control_plane.url, tokens.minted) as ann:
            await ann.jobs()
        await tokens.refresh()
        assert [(t.owner, t.expires_at) for t in tokens.api_tokens] == [("ann", None)]
        assert tokens.enroll_tokens == []

        audit = Audit(client)
        await audit.refresh()
        assert [entry.what for entry in audit.entries[:3]] == [
            "researcher token minted",
            "enroll token revoked",
            "enroll token minted",
        ]
        assert audit.entries[2].subject == f"lab-pc-3, {audit.entries[1].subject}"

    looking(control_plane, look)


def test_a_researchers_groups_and_limits_are_changed_together_or_not_at_all(plane: ControlPlane) -> None:
    plane.researcher_token("ann")

    async def look(client: AsyncZPEClient) -> None:
        await client.admin.group("surfaces", add=["ann", "bob"])
        page = Researchers(client)
        await page.refresh()
        assert [(owner.name, owner.groups) for owner in page.owners] == [
            ("ann", ["surfaces"]),
            ("bob", ["surfaces"]),
        ]
        page.edit("ann")
        assert page.edited is not None
        none = dict.fromkeys(("priority", "jobs", "scfs", "megabytes"), "")
        assert typed(page.edited) == none
        for wrong in ({"jobs": "many"}, {"jobs": "2.5"}, {"priority": "101"}, {"megabytes": "-1"}):
            with pytest.raises(InputError, match=r"bad_request"):
                await page.change("clusters", none | wrong)
            assert (await client.admin.owner("ann")).groups == ["surfaces"]
        given = {"priority": "5", "jobs": "20", "scfs": "", "megabytes": "0.5"}
        await page.change("clusters, oxides,", given)
        assert page.edited is None
        await page.refresh()
        ann = page.owners[0]
        assert ann.groups == ["clusters", "oxides"]
        assert ann.own_limits == Limits(priority=5, jobs=20, bytes=500_000)
        assert (typed(ann), ann.limits.scfs) == (given, None)
        page.edit("ann")
        await page.change("", none)
        assert (await client.admin.owner("ann")).own_limits == Limits()
        assert [group.name for group in (await client.admin.groups()).groups] == ["surfaces"]

    looking(plane, look)


def test_two_desks_share_nothing(control_plane: ControlPlane) -> None:
    async def look(client: AsyncZPEClient) -> None:
        mine, yours = Desk(client), Desk(client)
        mine.go(Route("jobs", filters={"search": "secret project"}))
        tokens = mine.states["tokens"]
        assert isinstance(tokens, Tokens)
        await tokens.mint_enroll("", 1, control_plane.url)
        other = yours.states["tokens"]
        assert isinstance(other, Tokens)
        assert (yours.page, other.minted) == ("overview", "")
        jobs = yours.states["jobs"]
        assert isinstance(jobs, Jobs)
        assert jobs.search == ""

    looking(control_plane, look)


class Following:
    """A desk whose loop runs; tells when a condition holds after one of its beats."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self._beat = asyncio.Event()
        desk.param.watch(lambda _: self._beat.set(), "beat")

    async def __aenter__(self) -> Following:
        self._task = asyncio.create_task(self.desk.follow())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()

    async def until(self, true: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not true():
                self._beat.clear()
                await self._beat.wait()


def test_a_desk_says_when_the_control_plane_is_away_and_recovers(plane: ControlPlane) -> None:
    async def look(client: AsyncZPEClient) -> None:
        desk = Desk(client)
        async with Following(desk) as following:
            await following.until(lambda: desk.state.loaded)
            plane.kill()
            await following.until(lambda: not desk.reachable)
            await asyncio.to_thread(plane.start)
            await following.until(lambda: desk.reachable)

    looking(plane, look)


def test_a_hidden_desk_asks_nothing(control_plane: ControlPlane) -> None:
    async def look(client: AsyncZPEClient) -> None:
        desk = Desk(client, visible=False)
        async with Following(desk) as following:
            desk.go(Route("audit"))
            desk.hurry()
            # Another desk has looked several times by then.
            async with Following(Desk(client)) as other:
                await other.until(lambda: other.desk.beat > 1)
            assert (desk.beat, desk.state.loaded) == (0, False)
            desk.visible = True
            await following.until(lambda: desk.state.loaded)

    looking(control_plane, look)


def test_a_refusal_stands_on_the_page_it_is_about(control_plane: ControlPlane) -> None:
    async def look(client: AsyncZPEClient) -> None:
        desk = Desk(client)
        async with Following(desk) as following:
            desk.go(Route("job", "nosuchjob"))
            await following.until(lambda: bool(desk.state.problem))
            assert "job_not_found" in desk.state.problem
            assert desk.reachable
            desk.go(Route("workers"))
            await following.until(lambda: desk.state.loaded)
            assert desk.state.problem == ""

        async def refused() -> None:
            raise InputError("there is no such lease", code="lease_not_found")

        assert not await desk.act(refused(), "Released.")
        assert desk.notice == {"text": "there is no such lease [input/lease_not_found]", "problem": True}

    looking(control_plane, look)


def test_a_job_is_planned_before_it_is_submitted(plane: ControlPlane, admin: ZPEClient) -> None:
    async def look(client: AsyncZPEClient) -> str:
        new = NewJob(client, content=h2(), job_name="hydrogen")
        await new.look()
        assert new.plan is not None
        assert (new.plan.formula, new.plan.full, new.mobile) == ("H2", 13, [0, 1])
        await new.toggle(0)
        assert (new.plan.full, new.mobile) == (7, [1])
        await new.choose_text("H")
        assert new.mobile == [0, 1]
        await new.choose_text("1")
        with pytest.raises(InputError, match="mobile_indices"):
            await new.choose_text("7")
        assert new.mobile == [1]  # as it was
        return await new.submit()

    job = admin.job(looking(plane, look))
    assert job.detail().mobile_indices == [1]
    assert job.status().name == "hydrogen"


def test_what_is_typed_names_no_file_of_the_server(plane: ControlPlane) -> None:
    async def look(client: AsyncZPEClient) -> None:
        with pytest.raises(InputError) as refused:
            await NewJob(client, content="/etc/hostname").look()
        assert refused.value.code != "file_missing"

    looking(plane, look)


def test_atoms_are_named_by_index_range_and_symbol() -> None:
    symbols = ["O", "H", "H", "H"]
    assert indices_of("0, 2-3", symbols) == [0, 2, 3]
    assert indices_of("H", symbols, fixed=[3]) == [1, 2]
    assert indices_of(" ", symbols) == []
    for text in ("x", "1-", "-1", "1-x"):
        with pytest.raises(InputError):
            indices_of(text, symbols)
    assert ranges([0, 1, 2, 5, 7, 8]) == "0-2, 5, 7-8"


def test_each_role_has_its_pages(plane: ControlPlane) -> None:
    async def look(client: AsyncZPEClient) -> None:
        ann, olga = Desk(client, "ann", "researcher"), Desk(client, "olga", "observer")
        ann.go(Route("tokens"))
        assert ann.page == "jobs"
        olga.go(Route("tokens"))
        assert olga.page == "tokens"
        olga.go(Route("new"))
        assert olga.page == "overview"
        assert [ann.decides_about(owner) for owner in ("ann", "bob")] == [True, False]
        assert not olga.may_act

    looking(plane, look)
