"""Projects, on a real control plane with a worker that computes with springs."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import warnings
import zipfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from ase.build import molecule

from tests.processes import PATIENCE, ControlPlane, environment, h2, wait_until
from zpe_sdk import (
    AuthError,
    EnergyResult,
    InputError,
    Job,
    RelaxationResult,
    ZPEClient,
    ZPEResult,
    read_archive,
    wait_all,
)
from zpe_sdk.client.listing import moment, warn_of_expiry

# All but this decides what is computed.
INPUTS = {f"molecule {n}": h2(f"the molecule {n}") for n in range(3)}


@pytest.mark.usefixtures("paused")
def test_labels_are_kept_found_and_changed(client: ZPEClient, admin: ZPEClient) -> None:
    one = client.submit(
        h2(), name="one", project="labels", tags=["gas", "test", "gas"], note="a first try", keep=True
    )
    two = client.energy(h2(), name="two", project="labels", tags="gas")
    found = client.jobs(project="labels", order="oldest")
    assert ([job.id for job in found], found.total) == ([one.id, two.id], 2)
    status = found[0].last_status
    assert status is not None
    assert (status.project, status.tags, status.note, status.keep) == (
        "labels",
        ["gas", "test"],
        "a first try",
        True,
    )
    assert [job.id for job in client.jobs(project="labels", tags=["gas", "test"])] == [one.id]
    assert [job.id for job in admin.jobs(project="labels")] == [two.id, one.id]
    with ZPEClient(str(client.url), admin.admin.api_token("grace").token) as other:
        assert other.jobs(project="labels") == []

    changed = two.update(project="others", tags=[], note="moved", keep=True)
    assert (changed.project, changed.tags, changed.note, changed.keep) == ("others", [], "moved", True)
    assert [job.id for job in client.jobs(project="labels")] == [one.id]
    assert [job.id for job in client.jobs(project="others")] == [two.id]
    # What is not given stays.
    changed = two.update(note="")
    assert (changed.project, changed.note, changed.keep) == ("others", None, True)
    assert two.update(project="").project is None
    assert client.jobs(project="others") == []
    again = one.resubmit()
    assert again.status().project == "labels"
    assert again.status().tags == ["gas", "test"]
    for job in (one, two, again):
        job.cancel()


@pytest.mark.parametrize(
    ("labels", "field"),
    [
        ({"project": "two\nlines"}, "project"),
        ({"tags": ["a blank"]}, "tags.0"),
        ({"tags": [f"t{n}" for n in range(21)]}, "tags"),
        ({"note": "n" * 2001}, "note"),
        ({"once": True, "name": "one"}, ""),
    ],
)
def test_a_bad_label_is_named(client: ZPEClient, labels: dict[str, object], field: str) -> None:
    with pytest.raises(InputError) as caught:
        client.submit(h2(), **labels)  # type: ignore[arg-type]
    assert caught.value.field == field


@pytest.mark.usefixtures("paused")
def test_jobs_come_by_states_and_dates_page_by_page(
    client: ZPEClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zpe_sdk.client.async_client._PAGE", 2)
    before = datetime.now(UTC)
    jobs = client.submit_many([h2()] * 5, names=[f"page {n}" for n in range(5)], project="pages")
    jobs[0].cancel()
    found = client.jobs(project="pages")
    assert {job.id for job in found} == {job.id for job in jobs}
    assert (len(found), found.total) == (5, 5)
    assert "5 jobs" not in found._repr_html_()
    some = client.jobs(project="pages", limit=3)
    assert (len(some), some.total) == (3, 5)
    assert "3 of 5 jobs" in some._repr_html_()
    assert client.jobs(project="pages", status=["cancelled", "failed"])[0].id == jobs[0].id
    both = client.jobs(status=["queued", "cancelled"], search="page ", since=before)
    assert {job.id for job in both} == {job.id for job in jobs}
    assert client.jobs(project="pages", since=datetime.now(UTC) + timedelta(minutes=5)) == []
    assert client.jobs(project="pages", until=before) == []
    assert len(client.jobs(project="pages", since=date.today() - timedelta(days=1))) == 5
    with pytest.raises(InputError) as caught:
        client.jobs(since="yesterday")
    assert caught.value.field == "since"
    for job in jobs[1:]:
        job.cancel()


def test_a_time_without_a_zone_is_local() -> None:
    local = datetime(2026, 3, 31, 18).astimezone()
    assert moment("2026-03-31T18:00", "since") == local.astimezone(UTC).isoformat()
    assert moment("2026-03-31T18:00+02:00", "since") == "2026-03-31T16:00:00+00:00"
    assert moment(date(2026, 3, 31), "since") == moment("2026-03-31T00:00", "since")


def test_a_project_makes_no_job_twice(client: ZPEClient, token: str) -> None:
    project = client.project("twice")
    first = project.submit_many(INPUTS)
    assert all(job.created for job in first)
    project.wait(PATIENCE, progress=False)
    again = project.submit_many(INPUTS, priority=5, calc_mode="new")
    assert [job.id for job in again] == [job.id for job in first]
    assert not any(job.created for job in again)
    # The same name stands for nothing else, and what was there is not cancelled for that.
    with pytest.raises(InputError) as caught:
        project.submit_many(INPUTS | {"molecule 2": h2("another")})
    assert caught.value.code == "name_taken"
    with pytest.raises(InputError) as settings:
        project.submit_many(INPUTS, delta=0.02)
    assert settings.value.code == "name_taken"
    assert {job.status().status for job in first} == {"finished"}
    assert project.jobs().total == 3


@pytest.mark.usefixtures("paused")
def test_what_was_cancelled_is_submitted_anew(client: ZPEClient) -> None:
    project = client.project("anew")
    first = project.submit(h2(), "hydrogen")
    assert project.submit(h2(), "hydrogen").id == first.id
    first.cancel()
    second = project.submit(h2(), "hydrogen")
    assert second.created
    assert second.id != first.id
    second.cancel()


def test_what_has_failed_may_be_asked_for_otherwise(client: ZPEClient) -> None:
    project = client.project("failed")
    bad = h2("mock: fail=bad_input times=always")
    first = project.submit(bad, "hydrogen")
    wait_all([first], PATIENCE, progress=False)
    assert project.submit(bad, "hydrogen").id == first.id
    better = project.submit(h2(), "hydrogen")
    assert better.id != first.id
    project.wait(PATIENCE, progress=False)
    [(name, result)] = project.results().items()
    assert name == "hydrogen"
    assert isinstance(result, ZPEResult)


def test_names_come_from_files_and_formulas(client: ZPEClient, tmp_path: Path) -> None:
    project = client.project("names")
    file = tmp_path / "hydrogen.in"
    file.write_text(h2("named by its file"))
    [job] = project.submit_many([file])
    assert job.status().name == "hydrogen"
    with pytest.raises(InputError) as twice:
        project.submit_many([molecule("H2"), molecule("H2")], kpts="gamma")
    assert (twice.value.field, project.jobs().total) == ("names", 1)
    with pytest.raises(InputError) as text:
        project.submit_many([h2()])
    assert text.value.field == "names"


SCREENING = """
import sys
from zpe_sdk import ZPEClient
from tests.sdk.test_projects import h2
project = ZPEClient().project("killed")
for n in range(200):
    project.submit(h2(f"killed {n}"), f"molecule {n}")
    print(n, flush=True)
"""


@pytest.mark.usefixtures("paused")
def test_a_killed_script_goes_on_where_it_was(plane: ControlPlane, token: str, client: ZPEClient) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SCREENING],
        env=environment(ZPE_CONTROL_API_URL=plane.url, ZPE_TOKEN=token),
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
    ) as script:
        assert script.stdout is not None
        for line in script.stdout:
            if int(line) == 7:
                script.send_signal(signal.SIGKILL)
                break
    project = client.project("killed")
    there = project.jobs().total
    assert 8 <= there < 200
    inputs = {f"molecule {n}": h2(f"killed {n}") for n in range(there + 2)}
    jobs = project.submit_many(inputs)
    assert sum(job.created for job in jobs) == 2
    names = [job.last_status.name for job in project.jobs() if job.last_status]
    assert sorted(names) == sorted(inputs)
    for job in jobs:
        job.cancel()


def test_a_table_has_what_finished_and_why_the_others_have_not(client: ZPEClient) -> None:
    project = client.project("mixed")
    project.submit_many({"vibrations": h2()})
    project.submit_many({"relaxation": h2()}, kind="relax", fmax=0.01)
    project.submit_many({"energy": h2()}, kind="energy")
    project.submit_many({"bad": h2("mock: fail=bad_input times=always")})
    project.wait(PATIENCE, progress=False)
    results = project.results()
    assert list(results) == ["vibrations", "relaxation", "energy", "bad"]
    kinds = [type(result) for result in results.values()]
    assert kinds[:3] == [ZPEResult, RelaxationResult, EnergyResult]
    table = project.table(temperature=400)
    assert list(table.index) == list(results)
    assert table.loc["vibrations", "zpe_ev"] == pytest.approx(0.27, abs=0.02)
    assert table.loc["vibrations", "temperature_k"] == 400
    assert table.loc["energy", "energy_ev"] == pytest.approx(table.loc["vibrations", "energy_ev"])
    assert "bad" in table.loc["bad", "failure"]


def test_a_project_goes_into_a_file_and_back(client: ZPEClient, tmp_path: Path) -> None:
    project = client.project("archive")
    project.submit_many({"H₂ / gas": h2("1"), "H2 : gas": h2("2")}, note="for the paper")
    project.submit_many({"relaxed": h2("3")}, kind="relax")
    project.submit_many({"failed": h2("mock: fail=bad_input times=always")})
    project.wait(PATIENCE, progress=False)
    file = project.export(tmp_path / "archive.zip")
    with zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        assert len(set(names)) == len(names)
        assert not any(".." in name or name.startswith("/") for name in names)
        index = json.loads(archive.read("project.json"))
        assert index["project"] == "archive"
    read = read_archive(file)
    assert (read.name, read.url) == ("archive", str(client.url))
    assert read.inputs["H₂ / gas"] == h2("1")
    there = project.results()
    assert set(read.results) == set(there) - {"failed"}
    for name, result in read.results.items():
        assert result.to_json() == there[name].to_json()  # type: ignore[union-attr]
    # Where it comes from: who asked for it, what for, and who computed it.
    [entry] = [entry for entry in read.entries if entry.name == "H₂ / gas"]
    assert entry.detail.note == "for the paper"
    assert entry.detail.job.owner == "ada"
    assert {task.worker for task in entry.detail.tasks} == {"worker"}
    assert entry.detail.fingerprint is not None
    assert list(read.table().index) == list(read.results)
    # And into a control plane again.
    project = client.project("archive again")
    project.submit_many({name: read.inputs[name] for name in ("H₂ / gas", "H2 : gas")})
    project.wait(PATIENCE, progress=False)
    for name, result in project.results().items():
        assert isinstance(result, ZPEResult)
        assert result.zpe_ev == pytest.approx(there[name].zpe_ev)  # type: ignore[union-attr]


@pytest.mark.parametrize("content", [b"", b"no zip", None])
def test_a_file_that_is_no_archive_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "other.zip"
    if content is None:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("other.txt", "something else")
    else:
        file.write_bytes(content)
    with pytest.raises(InputError, match=r"other\.zip") as caught:
        read_archive(file)
    assert caught.value.code == "bad_archive"
    with pytest.raises(InputError) as missing:
        read_archive(tmp_path / "none.zip")
    assert missing.value.code == "file_missing"


def test_what_is_kept_is_not_forgotten_with_the_rest(own_control_plane: object, plane: ControlPlane) -> None:
    short = own_control_plane(ZPE_RESULT_TTL_SECONDS=2)  # type: ignore[operator]
    short.worker()
    with ZPEClient(short.url, short.researcher_token("ada")) as client, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # all expires soon here
        kept, later, lost = client.submit_many(
            [h2("1"), h2("2"), h2("3")], names=["kept", "later", "lost"], keep=True, project="short"
        )
        wait_all([kept, later, lost], PATIENCE, progress=False)
        assert kept.status().expires_at is None
        assert lost.update(keep=False).expires_at is not None
        wait_until(lambda: {job.id for job in client.jobs()} == {later.id, kept.id})
        assert kept.result().zpe_ev > 0
        # Its name is free again.
        assert client.project("short").submit(h2("3"), "lost").created


def test_a_project_is_remembered_for_as_long_as_an_administrator_says(
    plane: ControlPlane, admin: ZPEClient
) -> None:
    day = 86400
    with ZPEClient(plane.url, plane.researcher_token("mary")) as client:

        def days(job: Job) -> float:
            status = job.status()
            assert status.expires_at is not None
            assert status.finished_at is not None
            since = datetime.fromisoformat(status.expires_at) - datetime.fromisoformat(status.finished_at)
            return since.total_seconds() / day

        before = client.submit(h2("before"), project="archive").wait(PATIENCE, progress=False)
        other = client.submit(h2("before"), project="other").wait(PATIENCE, progress=False)
        usual = days(before)
        said = admin.admin.retain("mary", "archive", 90)
        assert (said.days, said.jobs) == (90, 1)
        after = client.submit(h2("after"), project="archive").wait(PATIENCE, progress=False)
        assert [days(before), days(after), days(other)] == pytest.approx([90, 90, usual], abs=0.01)
        other.update(project="archive")
        assert days(other) == pytest.approx(90, abs=0.01)
        assert [(each.owner, each.project, each.days) for each in admin.admin.retention().projects] == [
            ("mary", "archive", 90)
        ]
        # What would be over by now has a day left, for somebody to save it.
        admin.admin.retain("mary", "archive", 1e-6)
        assert days(before) == pytest.approx(1, abs=0.01)
        admin.admin.retain("mary", "archive", None)
        assert days(before) == pytest.approx(usual, abs=0.01)
        assert admin.admin.retention().projects == []
        with pytest.raises(AuthError):
            client.admin.retain("mary", "archive", 3000)


def test_a_warning_comes_before_something_is_forgotten(client: ZPEClient) -> None:
    job = client.submit(h2(), name="soon").wait(PATIENCE, progress=False)
    status = job.status()
    assert status.expires_at is not None
    assert status.finished_at is not None
    expires, finished = (datetime.fromisoformat(at) for at in (status.expires_at, status.finished_at))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_expiry([status], now=finished + (expires - finished) / 2)
    with pytest.warns(UserWarning, match="1 job and its result will be forgotten"):
        warn_of_expiry([status], now=expires - (expires - finished) / 5)


def test_a_screening_that_is_killed_half_way_goes_on(plane: ControlPlane, tmp_path: Path) -> None:
    script = Path(__file__).parents[2] / "samples" / "screening.py"
    token = plane.researcher_token("screener")
    command = {
        "args": [sys.executable, str(script)],
        "env": environment(ZPE_CONTROL_API_URL=plane.url, ZPE_TOKEN=token, MPLBACKEND="agg"),
        "cwd": tmp_path,
        "stderr": subprocess.DEVNULL,
    }
    with ZPEClient(plane.url, token) as client:
        with subprocess.Popen(**command) as process:  # type: ignore[call-overload]
            wait_until(lambda: client.jobs(status="finished").total >= 10)
            process.kill()
        there = client.jobs().total
        assert not (tmp_path / "screening.csv").exists()
        subprocess.run(**command, check=True, timeout=PATIENCE)  # type: ignore[call-overload]
        jobs = client.jobs(project="screening")
        assert jobs.total == len(jobs.by_name()) == 30
        assert there >= 10
        assert {job.last_status.status for job in jobs if job.last_status} == {"finished"}
    lines = (tmp_path / "screening.csv").read_text().splitlines()
    assert len(lines) == 31
    assert (tmp_path / "screening.png").read_bytes().startswith(b"\x89PNG")
    assert sum(bool(line.strip()) for line in script.read_text().splitlines()) <= 15
