"""Both clients against a real control plane and a real worker with the mock engine."""

from __future__ import annotations

import asyncio
import inspect
import multiprocessing
import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ase import Atoms
from ase.build import molecule

from tests.processes import PATIENCE, ControlPlane, environment, h2, wait_until
from zpe_sdk import (
    AsyncZPEClient,
    AuthError,
    BareResult,
    ComputeError,
    ConfigError,
    EnergyResult,
    InputError,
    ZPEClient,
    as_completed,
    read_archive,
)
from zpe_sdk.client.admin import Admin
from zpe_sdk.client.async_admin import AsyncAdmin
from zpe_sdk.client.async_job import AsyncJob
from zpe_sdk.client.async_project import AsyncProject
from zpe_sdk.client.job import Job
from zpe_sdk.client.project import Project

ROOT = Path(__file__).parents[2]
# The engine's springs give H2 at 0.75 Å one stretch near 4400 cm⁻¹.
STRETCH = pytest.approx(4400, abs=60)


def test_a_job_from_submission_to_result(client: ZPEClient, capsys: pytest.CaptureFixture[str]) -> None:
    job = client.submit(h2(), name="hydrogen <b>", low_cut_cm=100.0)
    assert job.wait(PATIENCE) is job
    result = job.result()
    assert result.frequencies_cm[-1] == STRETCH
    assert result.document.low_cut_cm == 100.0
    assert job.summary() == result.summary()
    assert job.freqs_csv() == result.to_csv()
    status = job.status()
    assert (status.status, status.owner, status.name) == ("finished", "ada", "hydrogen <b>")
    assert job.detail().content == h2()
    assert "finished" in repr(job)
    assert "hydrogen &lt;b&gt;" in job._repr_html_()
    # The bar is on standard error: standard output is the caller's.
    shown = capsys.readouterr()
    assert "hydrogen" in shown.err
    assert "3/3" in shown.err
    assert not shown.out


def test_a_single_energy_from_submission_to_result(client: ZPEClient) -> None:
    job = client.energy(h2(), name="hydrogen").wait(PATIENCE, progress=False)
    result = job.result()
    assert isinstance(result, EnergyResult)
    assert (job.summary(), job.freqs_csv()) == (result.summary(), result.to_csv())
    assert [atom.symbol for atom in result.atoms] == ["H", "H"]
    assert (job.status().kind, job.status().progress.total) == ("energy", 1)
    # The same SCF is that of the undisplaced structure of its vibrations.
    vibrations = client.submit(h2()).wait(PATIENCE, progress=False).result()
    assert vibrations.document.energy_ev == pytest.approx(result.energy_ev, abs=1e-9)
    again = job.resubmit().wait(PATIENCE, progress=False)
    assert isinstance(again.result(), EnergyResult)
    assert again.result().energy_ev == result.energy_ev


def test_inside_a_running_loop(plane: ControlPlane, token: str) -> None:
    async def cell() -> tuple[float, float]:
        with ZPEClient(plane.url, token) as client:
            blocking = client.submit(h2()).wait(PATIENCE, progress=False).result()
        async with AsyncZPEClient(plane.url, token) as client_:
            job = await client_.submit(h2())
            awaited = await (await job.wait(PATIENCE, progress=False)).result()
        return blocking.zpe_ev, awaited.zpe_ev

    blocking, awaited = asyncio.run(cell())
    assert blocking == awaited > 0.2


def test_one_client_in_many_threads(client: ZPEClient) -> None:
    def run(index: int) -> tuple[str | None, float]:
        job = client.submit(h2(f"thread {index}"), name=f"thread {index}").wait(PATIENCE, progress=False)
        return job.status().name, job.result().zpe_ev

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(run, range(4)))
    assert [name for name, _ in done] == [f"thread {index}" for index in range(4)]
    assert len({zpe for _, zpe in done}) == 1


def test_one_asynchronous_client_in_one_loop_after_the_other(plane: ControlPlane, token: str) -> None:
    client = AsyncZPEClient(plane.url, token)

    async def count() -> int:
        return len(await client.jobs(limit=1))

    assert asyncio.run(count()) == asyncio.run(count())
    asyncio.run(client.aclose())


def _status_in_child(job: Job, answers: multiprocessing.SimpleQueue[str]) -> None:
    answers.put(job.status().status)


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_in_a_forked_process(client: ZPEClient) -> None:
    job = client.submit(h2()).wait(PATIENCE, progress=False)
    context = multiprocessing.get_context("fork")
    answers = context.SimpleQueue()
    child = context.Process(target=_status_in_child, args=(job, answers))
    child.start()
    child.join(PATIENCE)
    assert child.exitcode == 0
    assert answers.get() == job.status().status == "finished"


def test_a_job_goes_through_a_pickle(
    plane: ControlPlane, token: str, client: ZPEClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = client.submit(h2())
    monkeypatch.setenv("ZPE_TOKEN", token)
    again = pickle.loads(pickle.dumps(job))
    assert again.wait(PATIENCE, progress=False).result().zpe_ev == job.result().zpe_ev


def test_atoms_are_submitted_with_their_mobile_ones(client: ZPEClient) -> None:
    water = molecule("H2O", vacuum=4.0)
    job = client.submit(
        water,
        pseudopotentials={"O": "O.pbe-kjpaw.UPF", "H": "H.pbe-kjpaw.UPF"},
        ecutwfc=30.0,
        mobile="H",
    )
    document = job.wait(PATIENCE, progress=False).result().document
    assert [document.symbols[i] for i in document.mobile_indices] == ["H", "H"]
    assert len(document.freqs_cm) == 6


def test_a_file_is_submitted(client: ZPEClient, tmp_path: Path) -> None:
    file = tmp_path / "h2.in"
    file.write_text(h2())
    assert client.submit(file).detail().content == client.submit(str(file)).detail().content == h2()


def test_parse(client: ZPEClient) -> None:
    reply = client.parse(h2())
    assert [atom.symbol for atom in reply.structure.atoms] == ["H", "H"]
    assert reply.structure.lattice.a.x == pytest.approx(6.0)


@pytest.mark.usefixtures("paused")
def test_jobs_are_listed_and_found(client: ZPEClient, admin: ZPEClient, plane: ControlPlane) -> None:
    with ZPEClient(plane.url, plane.researcher_token("grace")) as other:
        mine, theirs = client.submit(h2(), name="needle"), other.submit(h2(), name="needle")
        assert [job.id for job in client.jobs(search="needle")] == [mine.id]
        assert {job.id for job in admin.jobs(search="needle")} == {mine.id, theirs.id}
        assert [job.id for job in admin.jobs(search="needle", owner="grace")] == [theirs.id]
        assert client.jobs(status="queued", limit=1)[0].last_status is not None
        assert client.jobs(search="needle", offset=1) == []
        for job in (mine, theirs):
            job.cancel()


@pytest.mark.usefixtures("paused")
def test_an_unfinished_job(client: ZPEClient) -> None:
    job = client.submit(h2())
    with pytest.raises(InputError) as caught:
        job.result()
    assert caught.value.code == "not_finished"
    with pytest.raises(TimeoutError, match="it goes on"):
        job.wait(0.2, progress=False)
    assert job.status().status == "queued"
    assert job.cancel().status == "cancelled"
    for call in (job.result, job.summary, lambda: job.wait(progress=False)):
        with pytest.raises(ComputeError) as cancelled:
            call()
        assert cancelled.value.code == "job_cancelled"


def test_a_failed_job_raises_its_own_error(client: ZPEClient) -> None:
    job = client.submit(h2("mock: fail=bad_input times=always"))
    with pytest.raises(InputError) as caught:
        job.wait(PATIENCE, progress=False)
    assert caught.value.code == "bad_input"
    for call in (job.result, job.freqs_csv):
        with pytest.raises(InputError) as again:
            call()
        assert again.value.code == "bad_input"
    assert job.status().in_dlq
    assert job.requeue().status == "queued"


def test_as_completed_yields_each_job_once(client: ZPEClient, admin: ZPEClient) -> None:
    jobs = [client.submit(h2(f"job {index}")) for index in range(3)]
    jobs.append(client.submit(h2("mock: fail=bad_input times=always")))
    done = list(client.as_completed(jobs, timeout=PATIENCE))
    assert {id(job) for job in done} == {id(job) for job in jobs}
    assert sorted(job.last_status.status for job in done if job.last_status) == ["failed"] + 3 * ["finished"]


@pytest.mark.usefixtures("paused")
def test_as_completed_gives_up_in_time_and_can_be_left_early(client: ZPEClient, plane: ControlPlane) -> None:
    over, waiting = client.submit(h2("one")), client.submit(h2("two"))
    over.cancel()
    for job in client.as_completed([waiting, over]):
        assert job is over
        break
    with pytest.raises(TimeoutError):
        list(client.as_completed([waiting], timeout=0.2))
    waiting.cancel()


def test_events_end_with_the_job(plane: ControlPlane, token: str) -> None:
    async def watch() -> list[int]:
        async with AsyncZPEClient(plane.url, token) as client:
            job = await client.submit(h2(), symmetry=False)
            seen = [event async for event in job.events(60)]
        assert seen[-1].status == "finished"
        versions = [event.version for event in seen]
        assert versions == sorted(set(versions))
        return [event.progress.done for event in seen]

    done = asyncio.run(watch())
    assert done[-1] == 13
    assert done == sorted(done)


@pytest.mark.parametrize(
    ("submission", "code", "field"),
    [
        ({"delta": -0.01}, "bad_request", "delta"),
        ({"priority": 1000}, "bad_request", "priority"),
        ({"calc_mode": "again"}, "bad_request", "calc_mode"),
        ({"requires": {"cores": 0}}, "bad_request", "requires.cores"),
        ({"requires": {"tags": ["two words"]}}, "bad_request", "requires.tags.0"),
        ({"mobile": [7]}, "bad_mobile_indices", "mobile_indices"),
    ],
)
def test_a_bad_argument_is_named(
    client: ZPEClient, submission: dict[str, object], code: str, field: str
) -> None:
    with pytest.raises(InputError) as caught:
        client.submit(h2(), **submission)  # type: ignore[arg-type]
    assert (caught.value.code, caught.value.field) == (code, field)


def test_a_bad_input_is_refused_by_the_control_plane(client: ZPEClient) -> None:
    with pytest.raises(InputError) as caught:
        client.submit(h2().replace("nat = 2", "nat = 3"))
    assert caught.value.field == "ATOMIC_POSITIONS"
    assert caught.value.request_id
    with pytest.raises(InputError, match="pseudopotential"):
        # No worker here has files for pw.x to choose from.
        client.submit(Atoms("H2", [(0, 0, 0), (0, 0, 0.74)]), ecutwfc=30.0, engine="espresso")


@pytest.mark.parametrize("job_id", ["nothing", "../admin/flags", "a/b?c=d#e", "ü"])
def test_an_unknown_job(client: ZPEClient, job_id: str) -> None:
    job = client.job(job_id)
    for call in (job.status, job.result, job.cancel, job.summary, job.detail):
        with pytest.raises(InputError):
            call()


def test_an_id_is_a_text(client: ZPEClient) -> None:
    for job_id in (5, None, ""):
        with pytest.raises(InputError) as caught:
            client.job(job_id)  # type: ignore[arg-type]
        assert caught.value.field == "job_id"


def test_an_error_leads_to_the_call_and_not_through_the_other_thread(client: ZPEClient) -> None:
    with pytest.raises(InputError) as caught:
        client.job("nothing").status()
    frames = {Path(frame.path).name for frame in caught.traceback}
    assert frames == {Path(__file__).name, "job.py", "blocking.py"}


def test_a_wrong_token_and_a_token_without_the_right(plane: ControlPlane, client: ZPEClient) -> None:
    with (
        ZPEClient(plane.url, "zpe_api_wrong0123456789abcdef") as stranger,
        pytest.raises(AuthError) as caught,
    ):
        stranger.jobs()
    assert "wrong0123456789" not in str(caught.value)
    with pytest.raises(AuthError):
        client.admin.leases()


def test_nobody_there(token: str) -> None:
    with (
        ZPEClient("http://127.0.0.1:9", token, retry_seconds=0.1) as client,
        pytest.raises(ConfigError, match=r"127\.0\.0\.1:9") as caught,
    ):
        client.jobs()
    assert caught.value.code == "control_plane_unreachable"


def test_a_stopped_submission_is_said_at_once(client: ZPEClient, admin: ZPEClient) -> None:
    assert admin.admin.set_flags(submission_enabled=False).submission_enabled is False
    try:
        with pytest.raises(ConfigError) as caught:
            client.submit(h2())
        assert caught.value.code == "submission_disabled"
    finally:
        admin.admin.set_flags(submission_enabled=True)


def test_a_call_outlives_a_restart_of_the_control_plane(
    own_control_plane: Callable[..., ControlPlane],
) -> None:
    plane = own_control_plane()
    with (
        ZPEClient(plane.url, plane.admin_token, retry_seconds=PATIENCE) as client,
        ThreadPoolExecutor(1) as pool,
    ):
        job = client.submit(h2())
        waiting = pool.submit(job.wait, PATIENCE, progress=False)
        wait_until(lambda: job.last_status is not None)
        plane.kill()
        late = ThreadPoolExecutor(1).submit(client.submit, h2("late"))
        plane.start()
        plane.worker()
        assert waiting.result(PATIENCE).result().frequencies_cm[-1] == STRETCH
        late.result(PATIENCE)
        assert len(client.jobs()) == 2


INTERRUPTED = """
import os, signal, sys, threading
from zpe_sdk import ZPEClient
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
job = ZPEClient().job(sys.argv[1])
job.status()
interrupt = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
try:
    for status in job.events():  # the interrupt comes while it waits for the next
        if not interrupt.ident:
            interrupt.start()
except KeyboardInterrupt:
    print(job.status().status)
"""


@pytest.mark.usefixtures("paused")
def test_an_interrupt_ends_the_waiting_and_not_the_job(
    plane: ControlPlane, token: str, client: ZPEClient
) -> None:
    job = client.submit(h2())
    script = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, job.id],
        env=environment(ZPE_CONTROL_API_URL=plane.url, ZPE_TOKEN=token),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert script.returncode == 0, script.stderr
    assert script.stdout.strip() == "queued"
    job.cancel()


def test_many_are_submitted_all_or_none(client: ZPEClient) -> None:
    texts = [h2(f"many {index}") for index in range(12)]
    jobs = client.submit_many(texts, names=[f"many {index}" for index in range(12)], low_cut_cm=60.0)
    for index, job in enumerate(jobs):
        assert job.detail().content == texts[index]
        assert job.status().name == f"many {index}"
    assert {job.result().document.low_cut_cm for job in as_completed(jobs, timeout=PATIENCE)} == {60.0}

    bad = [*texts, h2().replace("nat = 2", "nat = 3")]
    with pytest.raises(InputError) as caught:
        client.submit_many(bad, names=[f"none {index}" for index in range(13)])
    assert caught.value.field == "ATOMIC_POSITIONS"
    assert "structures[12] (none 12)" in caught.value.__notes__[0]
    left = client.jobs(search="none ", limit=100)
    assert {job.last_status.status for job in left if job.last_status} <= {"cancelled", "finished"}
    with pytest.raises(InputError) as unequal:
        client.submit_many(texts, names=["one"])
    assert unequal.value.field == "names"

    def mobile(atoms: Atoms) -> list[int]:
        return [0] if len(atoms) == 2 else [][0]

    # An error of the caller's own is one too.
    three = h2().replace("nat = 2", "nat = 3").replace("K_POINTS", "H 3.0 3.0 3.0\nK_POINTS")
    with pytest.raises(IndexError) as theirs:
        client.submit_many([h2(), h2(), three], names=["never 0", "never 1", "never 2"], mobile=mobile)
    assert "structures[2] (never 2)" in theirs.value.__notes__[0]
    left = client.jobs(search="never ")
    assert {job.last_status.status for job in left if job.last_status} <= {"cancelled", "finished"}
    for single in (molecule("H2"), "h2.in", 5):
        with pytest.raises(InputError) as one:
            client.submit_many(single)  # type: ignore[arg-type]
        assert one.value.field == "structures"


def test_jobs_of_several_clients_as_completed(client: ZPEClient, admin: ZPEClient) -> None:
    jobs = [client.submit(h2("mine")), admin.submit(h2("theirs"))]
    assert set(as_completed(jobs, timeout=PATIENCE)) == set(jobs)


def test_what_was_chosen_for_atoms_is_told_once(
    plane: ControlPlane, token: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, kind, functional in (
        ("H.US.UPF", "US", "PBE"),
        ("H.UPF", "PAW", " SLA PW PBX PBC"),
        ("H.A", "PAW", "PZ"),
    ):
        (tmp_path / name).write_text(
            f'<UPF version="2.0.1">\n<PP_HEADER element="H " pseudo_type="{kind}" functional="{functional}"\n'
            'wfc_cutoff="5.1E+001"/>'
        )
    with ZPEClient(plane.url, token, pseudo_dir=tmp_path) as client:
        jobs = client.submit_many([molecule("H2"), molecule("H2")])
        text = jobs[0].detail().content
        assert "H.UPF" in text
        read = {
            line.split("=")[0].strip(): line.split("=")[1].strip()
            for line in text.splitlines()
            if "=" in line
        }
        # 51 Ry is suggested; PAW wants a denser grid than four times that.
        assert (float(read["ecutwfc"]), float(read["ecutrho"])) == (55.0, 440.0)
        told = capsys.readouterr().err
        assert told.count("H.UPF") == 1
        assert jobs[1].choices in told
        with pytest.raises(InputError, match="Li") as caught:
            client.submit(molecule("LiH"))
    assert caught.value.field == "pseudopotentials"


def test_the_result_of_a_worker_of_another_make_is_shown_as_far_as_it_goes(
    plane: ControlPlane, admin: ZPEClient, tmp_path: Path
) -> None:
    """Of a worker that knows only how to lease a whole job and post its result."""
    worker = plane.register(name="old")
    wait_until(lambda: len(admin.admin.workers().workers) > 1)  # the one of the control plane is on its way
    for other in admin.admin.workers().workers:
        if other.server_id != worker["server_id"]:
            admin.workers.drain(other.server_id)
    try:
        job = admin.submit(h2("for an old worker"), priority=100, project="of before", name="hydrogen")
        with plane.api(str(worker["worker_token"])) as api:
            lease = api.post("/calc/zpe/compute/jobs/lease", json={"wait_seconds": 20}).json()
            assert lease["job_id"] == job.id
            body = {
                "lease_id": lease["lease_id"],
                "result": {
                    "freqs_cm": [0.0] * 5 + [4400.0],
                    "zpe_ev": 0.2728,
                    "s_vib_jmol_k": 0.01,
                    "mobile_indices": [0, 1],
                },
                "summary_text": "# ZPE summary\nby an old worker\n",
                "freqs_csv": "frequency_cm^-1\n4400.0\n",
            }
            api.post(f"/calc/zpe/compute/jobs/{job.id}/result", json=body).raise_for_status()
    finally:
        for other in admin.admin.workers().workers:
            if not other.revoked:
                admin.workers.drain(other.server_id, False)
    job.wait(PATIENCE, progress=False)
    result = job.result()
    assert isinstance(result, BareResult)
    assert (result.zpe_ev, list(result.frequencies_cm)) == (0.2728, [0.0] * 5 + [4400.0])
    assert {"hessian", "modes", "symbols", "pw_input"} <= set(result.missing)
    assert "hessian" in result.summary()
    assert result.document.mobile_indices == [0, 1]
    with pytest.raises(AttributeError, match=r"no 'hessian'.*sent no .*hessian"):
        _ = result.hessian
    assert job.summary() == body["summary_text"]
    assert job.freqs_csv() == body["freqs_csv"]

    project = admin.project("of before")
    assert project.table().zpe_ev["hydrogen"] == 0.2728
    archive = read_archive(project.export(tmp_path / "before.zip"))
    assert archive.results["hydrogen"].to_json() == result.to_json()


def test_every_administrators_call(plane: ControlPlane, admin: ZPEClient, client: ZPEClient) -> None:
    calls = admin.admin
    minted = calls.enroll_token(label="spare", ttl_seconds=60)
    assert minted.ttl_seconds == 60
    spare = next(item for item in calls.enroll_tokens().enroll_tokens if item.label == "spare")
    assert calls.revoke_enroll_token(spare.token_id).revoked_count == 1

    api_token = calls.api_token("mary", label="laptop")
    with ZPEClient(plane.url, api_token.token) as mary:
        assert mary.jobs() == []
        assert api_token.token_id in {item.token_id for item in calls.api_tokens().tokens}
        assert calls.revoke_api_token(api_token.token_id).revoked_count == 1
        with pytest.raises(AuthError):
            mary.jobs()

    server_id = str(plane.register(name="idle")["server_id"])
    assert admin.workers.drain(server_id).ok
    assert {w.server_id: w.draining for w in calls.workers().workers}[server_id]
    assert calls.revoke_worker(server_id).revoked_count >= 1

    dead = [client.submit(h2("mock: fail=bad_input times=always")) for _ in range(2)]
    list(client.as_completed(dead, timeout=PATIENCE))
    assert {job.id for job in dead} <= {item.job.job_id for item in calls.dead_jobs(limit=100).jobs}
    assert calls.requeue([dead[0].id, "nothing"]).skipped == ["nothing"]
    assert calls.discard([dead[1].id]).done == [dead[1].id]
    with pytest.raises(InputError) as caught:
        calls.release_lease("nothing")
    assert "lease" in caught.value.code
    assert isinstance(calls.leases().leases, list)
    assert calls.flags().submission_enabled is True
    assert "ada" not in {entry.who for entry in calls.audit(limit=1).entries}
    with pytest.raises(InputError) as bad:
        calls.api_token("no blanks allowed")
    assert bad.value.field == "owner"


def test_both_clients_have_the_same_calls() -> None:
    def calls(kind: type) -> set[str]:
        return {name for name in dir(kind) if not name.startswith("_")}

    assert calls(AsyncZPEClient) - {"aclose"} == calls(ZPEClient) - {"close"}
    assert calls(AsyncJob) == calls(Job) - {"id", "last_status", "choices", "warnings", "created"}
    assert calls(AsyncAdmin) == calls(Admin)
    assert calls(AsyncProject) == calls(Project) - {"name"}


@pytest.mark.parametrize(
    ("method", "twin"),
    [
        (ZPEClient.submit, AsyncZPEClient.submit),
        (ZPEClient.jobs, AsyncZPEClient.jobs),
        (Job.result, AsyncJob.result),
        (Admin.workers, AsyncAdmin.workers),
    ],
)
def test_a_reader_of_a_blocking_call_sees_its_own_types(
    method: Callable[..., Any], twin: Callable[..., Any]
) -> None:
    assert not inspect.iscoroutinefunction(method)
    assert inspect.signature(method).parameters == inspect.signature(twin).parameters
    assert "Async" not in str(inspect.signature(method))
    assert "Async" not in (method.__doc__ or "")


def test_the_blocking_calls_are_written_from_the_asynchronous_ones_as_they_are_now() -> None:
    subprocess.run([sys.executable, ROOT / "scripts" / "write_blocking.py", "--check"], check=True)
