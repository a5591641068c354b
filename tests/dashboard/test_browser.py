"""The dashboard in a real browser, on a real control plane with a real worker."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, TimeoutError, ViewportSize, expect

from tests.browser import NARROW, WIDE, arrive, log_in
from tests.processes import PATIENCE, ZPE, ControlPlane, Process, environment, free_port, h2, wait_until
from tests.server.issuer import Issuer
from zpe_sdk import ZPEClient
from zpe_sdk.client.enrolment import enrol_commands

# What is cut off at the side of the screen: components and buttons, through all shadow roots.
CUT_OFF = """() => {
  const found = document.documentElement.scrollWidth > innerWidth ? ["the page"] : []
  const look = root => {
    for (const node of root.querySelectorAll("*")) {
      if (node.shadowRoot) look(node.shadowRoot)
      if (!node.matches("dl, .box, button, a, .bk-Figure")) continue
      const place = node.getBoundingClientRect()
      if (place.width && place.right > innerWidth + 1) found.push(node.outerHTML.slice(0, 80))
    }
  }
  look(document)
  return found
}"""
# Texts with "gnp" in it of which a letter stands left of the one before, through all shadow roots.
TURNED_ROUND = """() => {
  const found = []
  const left = (node, n) => {
    const range = document.createRange()
    range.setStart(node, n)
    range.setEnd(node, n + 1)
    return range.getBoundingClientRect().left
  }
  const look = root => {
    for (const node of root.querySelectorAll("*")) {
      if (node.shadowRoot) look(node.shadowRoot)
      for (const text of node.childNodes) {
        const n = text.nodeType === Node.TEXT_NODE ? text.data.indexOf("gnp") : -1
        if (n >= 0 && left(text, n) > left(text, n + 1)) found.push(text.data)
      }
    }
  }
  look(document)
  return found
}"""
PAGES = {
    "overview": "概要",
    "jobs": "ジョブ",
    "workers": "ワーカー",
    "leases": "リース",
    "dlq": "失敗ジョブ",
    "researchers": "研究者",
    "tokens": "トークン",
    "audit": "監査記録",
}
expect.set_options(timeout=PATIENCE * 1000)

Open = Callable[..., Page]


@pytest.fixture(scope="module")
def plane_settings() -> dict[str, object]:
    return {"ZPE_RETRY_MAX": 0}


@pytest.fixture
def open_page(chromium: Browser, control_plane: ControlPlane) -> Iterator[Open]:
    """Open the dashboard in a browser of its own, logged in; nothing may go wrong in it, nor ask outside."""
    contexts: list[BrowserContext] = []
    problems: list[str] = []

    def open_page(place: str = "", url: str = control_plane.url, token: str = "", **options: object) -> Page:
        context = chromium.new_context(**{"viewport": WIDE, "locale": "en-GB", **options})  # type: ignore[arg-type]
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE * 1000)

        def watch(asked: str) -> None:
            parts = urlsplit(asked)
            if parts.scheme not in ("blob", "data") and parts.hostname != "127.0.0.1":
                problems.append(f"asked for {asked}")
            if control_plane.admin_token in asked:
                problems.append("the token is in a URL")

        page.on("request", lambda request: watch(request.url))
        page.on("websocket", lambda socket: watch(socket.url))
        page.on("pageerror", lambda error: problems.append(str(error)))
        log_in(page, url, token or control_plane.admin_token, place)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert problems == []


def go(page: Page, name: str) -> None:
    page.locator(f'nav a[href="#/{name}"]').click()
    expect(page.locator(f'nav a[href="#/{name}"]')).to_have_attribute("aria-current", "page")


def row(page: Page, name: str) -> object:
    return page.locator("tbody").filter(has_text=name)


@pytest.fixture(scope="module")
def worker(chromium: Browser, control_plane: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A worker that was enrolled with the command that the dashboard shows; its name."""
    context = chromium.new_context(viewport=WIDE, locale="en-GB")
    page = context.new_page()
    page.set_default_timeout(PATIENCE * 1000)
    log_in(page, control_plane.url, control_plane.admin_token)
    go(page, "tokens")
    page.get_by_label("Label, e.g. the node's name").fill("lab-pc-3")
    page.get_by_role("button", name="Make enroll token").click()
    dialog = page.get_by_role("dialog")
    token = dialog.locator("pre").first.inner_text()
    command = dialog.locator("pre").last.inner_text()
    assert command == enrol_commands(control_plane.url)["terminal"]
    dialog.get_by_role("button", name="Slurm").click()
    expect(dialog.locator("pre").last).to_contain_text("sbatch")
    assert token not in dialog.locator("pre").last.inner_text()
    expect(row(page, "lab-pc-3")).to_have_count(1)
    dialog.get_by_role("button", name="Done").click()
    expect(dialog).to_have_count(0)
    # It is gone from the page with the dialog.
    assert token not in page.content()

    folder = tmp_path_factory.mktemp("worker")
    pasted = folder / "pasted"
    pasted.write_text(f"{token}\n")
    settings = environment(
        ZPE_WORKER_MODE="mock",
        ZPE_WORKER_NAME="lab-pc-3",
        ZPE_WORK_DIR=folder,
        ZPE_SLOTS=1,
        ZPE_MOCK_SCF_SECONDS=0.5,
    )
    settings["PATH"] = f"{Path(ZPE).parent}{os.pathsep}{settings['PATH']}"
    control_plane.workers.append(
        Process(["bash", "-c", f"exec {command} < {pasted}"], folder / "worker.log", env=settings)
    )
    go(page, "workers")
    expect(row(page, "lab-pc-3").get_by_text("alive")).to_be_visible()
    context.close()
    return "lab-pc-3"


def submit(plane: ControlPlane, **fields: object) -> str:
    with plane.api() as api:
        reply = api.post("/calc/zpe/jobs", json={"content": h2(), "calc_mode": "new", **fields})
        return str(reply.raise_for_status().json()["job_id"])


def status(plane: ControlPlane, job: str) -> str:
    with plane.api() as api:
        return str(api.get(f"/calc/zpe/jobs/{job}").raise_for_status().json()["status"])


def test_a_job_from_the_list_to_its_result(open_page: Open, control_plane: ControlPlane, worker: str) -> None:
    page = open_page("#/jobs")
    with control_plane.api() as api:
        # It begins when somebody looks on, however long that takes here.
        api.patch("/calc/zpe/admin/flags", json={"dequeue_enabled": False}).raise_for_status()
        job = submit(control_plane, name="hydrogen <b>bold</b>", symmetry=False)
        page.get_by_role("link", name="hydrogen <b>bold</b>").click()
        bar = page.locator("dd [role=progressbar]")
        expect(bar).to_have_attribute("aria-valuenow", "0")
        api.patch("/calc/zpe/admin/flags", json={"dequeue_enabled": True}).raise_for_status()
    seen = {0}
    while page.locator("dd .chip").first.inner_text() != "finished":
        seen.add(int(bar.get_attribute("aria-valuenow") or 0))
    assert len(seen) > 2, "the bar moves while one looks on"
    expect(bar).to_have_attribute("aria-valuenow", "13")
    # The link that notebooks show leads here.
    with ZPEClient(control_plane.url, control_plane.admin_token) as client:
        assert page.url == client.job(job).url

    # The springs of the mock engine give H2 at 0.75 Å 4405 cm⁻¹, thus 0.273 eV.
    expect(page.locator("dd", has_text="0.2731").first).to_be_visible()
    expect(page.get_by_text("Mode 5: 4405")).to_be_visible()
    page.get_by_role("button", name="Animate: mode 4").click()
    expect(page.get_by_text("Mode 4:")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="JSON").click()
    assert json.loads(download.value.path().read_text())["zpe_ev"] == pytest.approx(0.2731, abs=1e-4)

    page.get_by_role("button", name="Submit again").click()
    expect(page).not_to_have_url(re.compile(job))
    expect(page.locator("dd", has_text="without symmetry")).to_be_visible()
    page.go_back()
    page.go_back()
    expect(page).to_have_url(re.compile(r"#/jobs$"))
    submitted = page.get_by_role("columnheader", name="Submitted")
    expect(submitted).to_have_attribute("aria-sort", "descending")  # the newest first
    submitted.get_by_role("button").click()
    expect(page).to_have_url(re.compile("order=oldest"))
    expect(submitted).to_have_attribute("aria-sort", "ascending")
    # The list is sorted, and not only what is in sight.
    zpe = page.get_by_role("columnheader", name="ZPE / eV").get_by_role("button")
    zpe.click()
    zpe.click()
    expect(page).to_have_url(re.compile("order=-zpe"))
    expect(zpe).to_be_focused()
    expect(page.locator("tbody").first).to_contain_text("0.2731")
    page.get_by_label("Search").fill("no such job")
    page.keyboard.press("Enter")
    expect(page.get_by_text("No job matches.")).to_be_visible()
    expect(page).to_have_url(re.compile("search=no"))
    page.reload()
    expect(page.get_by_text("No job matches.")).to_be_visible()


def test_a_relaxation_and_an_energy_show_their_own_results(
    open_page: Open, control_plane: ControlPlane, worker: str
) -> None:
    relaxation, energy = submit(control_plane, kind="relax"), submit(control_plane, kind="energy")
    page = open_page(f"#/job/{relaxation}")
    expect(page.locator("main")).to_contain_text("Energy gained")
    expect(page.locator("main")).to_contain_text("relaxation")
    expect(page.locator("main")).not_to_contain_text("Zero-point energy")
    page.goto(f"{control_plane.url}/dashboard/#/job/{energy}")
    expect(page.locator("main")).to_contain_text("single energy")
    expect(page.locator("main dt").get_by_text("Energy", exact=True)).to_be_visible()


def test_the_result_of_a_worker_of_another_make_is_shown_as_far_as_it_goes(
    open_page: Open, control_plane: ControlPlane
) -> None:
    """It knows only how to lease a whole job and post its numbers."""
    job = submit(control_plane, engine="espresso")  # which the worker of this module does not take
    with control_plane.api(control_plane.register(name="old")["worker_token"]) as node:
        lease = node.post("/calc/zpe/compute/jobs/lease").raise_for_status().json()
        assert lease["job_id"] == job
        numbers = {"freqs_cm": [0.0] * 5 + [4400.0], "zpe_ev": 0.2728, "s_vib_jmol_k": 0.01}
        files = {"summary_text": "# ZPE summary", "freqs_csv": "frequency_cm^-1"}
        body = {"lease_id": lease["lease_id"], "result": numbers | {"mobile_indices": [0, 1]}} | files
        node.post(f"/calc/zpe/compute/jobs/{job}/result", json=body).raise_for_status()
    page = open_page(f"#/job/{job}")
    expect(page.locator("main")).to_contain_text("0.272800")
    expect(page.locator("main")).to_contain_text("The worker that computed this sent no")
    expect(page.get_by_role("link", name="CSV")).to_be_visible()


def test_no_text_of_others_is_turned_round(open_page: Open, control_plane: ControlPlane) -> None:
    evil, shown = "photo\u202egnp.exe", "photo gnp.exe"
    # The worker of this module takes none of it.
    job = submit(control_plane, name=evil, note=evil, engine="espresso")
    with control_plane.api(control_plane.register(name=evil)["worker_token"]) as node:
        lease = node.post("/calc/zpe/compute/jobs/lease").raise_for_status().json()
        failure = {"error_code": "pw_crashed", "error_message": evil, "traceback": evil}
        path = f"/calc/zpe/compute/jobs/{lease['job_id']}/failed"
        node.post(path, json={"lease_id": lease["lease_id"], **failure}).raise_for_status()
    page = open_page()
    for place in (f"job/{job}", "jobs", "workers", "dlq"):
        page.goto(f"{control_plane.url}/dashboard/#/{place}")
        expect(page.locator("main")).to_contain_text(shown)
        assert page.evaluate(TURNED_ROUND) == [], place
        assert "\u202e" not in page.content()
    # Where such a text gets onto a page, that is seen.
    page.evaluate(
        "text => document.body.append(document.createElement('p').appendChild(new Text(text)))", evil
    )
    assert page.evaluate(TURNED_ROUND) == [evil]


def test_from_the_dead_letters_back_to_life(
    open_page: Open, control_plane: ControlPlane, worker: str
) -> None:
    first = submit(control_plane, name="try again", content=h2("mock: fail=pw_crashed task=1 times=1"))
    other = submit(control_plane, name="give up", content=h2("mock: fail=pw_crashed task=1 times=always"))
    wait_until(lambda: {status(control_plane, job) for job in (first, other)} == {"failed"})
    page = open_page("#/dlq", timezone_id="Asia/Tokyo")
    dead = row(page, "try again")
    expect(dead.get_by_text("compute / pw_crashed")).to_be_visible()
    dead.get_by_text("1 attempt", exact=True).click()
    expect(dead.get_by_text("Traceback")).to_be_visible()
    # The second as people count, where the page's other times are, too.
    expect(dead.locator(".inner > summary")).to_contain_text(f"{worker}, SCF 2, pw_crashed")
    told = dead.locator("details time")
    failed = datetime.fromisoformat(told.get_attribute("datetime") or "").astimezone(ZoneInfo("Asia/Tokyo"))
    expect(told).to_have_text(f"{failed:%d/%m/%Y, %H:%M:%S}")
    page.get_by_role("link", name="try again").click()
    expect(row(page, "failed (pw_crashed)").locator("[data-label=SCFs]")).to_have_text("2")
    expect(row(page, "equilibrium").locator("[data-label=SCF]")).to_have_text("1")
    page.go_back()
    dead.get_by_role("button", name="Requeue: try again").click()
    expect(dead).to_have_count(0)
    wait_until(lambda: status(control_plane, first) == "finished")

    page.get_by_role("checkbox", name="give up").check()
    page.get_by_role("button", name="Discard selected").click()
    page.get_by_role("dialog").get_by_role("button", name="Back").click()
    expect(row(page, "give up")).to_have_count(1)
    page.get_by_role("button", name="Discard selected").click()
    page.get_by_role("dialog").get_by_role("button", name="Discard").click()
    expect(row(page, "give up")).to_have_count(0)


def test_submission_is_stopped_after_a_question_and_resumed_without(
    open_page: Open, control_plane: ControlPlane
) -> None:
    page, onlooker = open_page(), open_page()
    switch = page.get_by_role("switch", name="New jobs are accepted")
    expect(switch).to_be_checked()
    switch.click()
    page.get_by_role("dialog").get_by_role("button", name="Stop submission").click()
    expect(switch).not_to_be_checked()
    expect(onlooker.get_by_role("switch", name="New jobs are accepted")).not_to_be_checked()
    with control_plane.api() as api:
        assert api.get("/calc/zpe/admin/flags").json()["submission_enabled"] is False
    switch.click()
    expect(switch).to_be_checked()
    expect(onlooker.get_by_role("switch", name="New jobs are accepted")).to_be_checked()


def test_a_token_is_seen_only_by_the_one_who_made_it(open_page: Open, control_plane: ControlPlane) -> None:
    page, onlooker = open_page("#/tokens"), open_page("#/tokens")
    page.get_by_label("Name, shown with the jobs").fill("ann")
    page.get_by_role("button", name="Make token").click()
    token = page.get_by_role("dialog").locator("pre").first.inner_text()
    assert token.startswith("zper_")
    expect(row(onlooker, "ann")).to_have_count(1)
    expect(onlooker.get_by_role("dialog")).to_have_count(0)
    # A key pressed by chance must not lose it.
    page.keyboard.press("Escape")
    page.get_by_role("dialog").get_by_role("button", name="Done").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("button", name="Revoke: ann").click()
    expect(page.get_by_role("dialog").get_by_text("Revoke this token?")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("button", name="Revoke: ann").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(page.get_by_text("Nobody has a token.")).to_be_visible()


def test_a_researcher_gets_a_limit_and_a_group_and_loses_them(
    open_page: Open, control_plane: ControlPlane
) -> None:
    with control_plane.api(control_plane.researcher_token("grace")) as grace:
        grace.post("/calc/zpe/jobs", json={"content": h2(), "engine": "espresso"}).raise_for_status()
        page, onlooker = open_page("#/researchers"), open_page("#/researchers")
        dialog = page.get_by_role("dialog")

        def change(groups: str, jobs: str) -> None:
            page.get_by_role("button", name="Change: grace").click()
            dialog.get_by_label("Groups, separated by commas").fill(groups)
            dialog.get_by_label("Jobs in line, at most").fill(jobs)
            dialog.get_by_role("button", name="Save").click()

        change("surfaces", "one")
        expect(page.get_by_text("'one' is not a number")).to_be_visible()
        expect(dialog).to_be_visible()  # with what was typed
        dialog.get_by_label("Jobs in line, at most").fill("1")
        dialog.get_by_role("button", name="Save").click()
        expect(dialog).to_have_count(0)
        for tab in (page, onlooker):
            expect(row(tab, "grace").get_by_text("1 of 1")).to_be_visible()
            expect(row(tab, "grace").get_by_text("surfaces")).to_be_visible()
        refused = grace.post("/calc/zpe/jobs", json={"content": h2("another"), "engine": "espresso"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "quota_jobs")
        assert grace.get("/calc/zpe/me").json()["groups"] == ["surfaces"]

        change("", "")
        expect(row(page, "grace").get_by_text("1 of 1")).to_have_count(0)
        expect(row(page, "grace").get_by_text("surfaces")).to_have_count(0)
        assert grace.get("/calc/zpe/me").json()["limits"]["jobs"] is None
        for job in grace.get("/calc/zpe/jobs").json()["jobs"]:
            grace.post(f"/calc/zpe/jobs/{job['job_id']}/cancel")


def test_a_worker_is_revoked_with_what_it_has_computed_if_that_is_ticked(
    open_page: Open, control_plane: ControlPlane
) -> None:
    server_id = control_plane.register(name="broken-pc")["server_id"]
    page = open_page("#/workers")
    row(page, "broken-pc").get_by_role("button", name="Revoke").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Take back what it has computed").check()
    dialog.get_by_role("button", name="Revoke").click()
    expect(row(page, "broken-pc")).to_have_count(0)
    with control_plane.api() as api:
        entries = api.get("/calc/zpe/admin/audit").json()["entries"]
    found = [entry["what"] for entry in entries if entry["subject"] == server_id]
    assert found[0] == "worker revoked with its results"


def test_all_jobs_of_a_list_are_cancelled_after_a_question(
    open_page: Open, control_plane: ControlPlane
) -> None:
    # The worker of this module does not take them.
    jobs = [submit(control_plane, name=f"mistake {n}", engine="espresso") for n in range(2)]
    other = submit(control_plane, name="meant", engine="espresso")
    page = open_page("#/jobs?search=mistake&status=queued")
    page.get_by_role("button", name="Cancel these jobs").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("Cancel 2 jobs?")).to_be_visible()
    dialog.get_by_role("button", name="Cancel these jobs").click()
    expect(page.get_by_text("No job matches.")).to_be_visible()
    expect(page.get_by_role("button", name="Cancel these jobs")).to_have_count(0)
    assert [status(control_plane, job) for job in (*jobs, other)] == ["failed", "failed", "queued"]
    page.goto(f"{control_plane.url}/dashboard/#/jobs?search=mistake")
    expect(row(page, "mistake 0").locator(".chip")).to_have_text("cancelled")
    with control_plane.api() as api:
        api.post(f"/calc/zpe/jobs/{other}/cancel").raise_for_status()


def test_a_researcher_submits_in_the_browser_and_sees_nobody_elses_jobs(
    open_page: Open, control_plane: ControlPlane, worker: str
) -> None:
    submit(control_plane, name="of somebody else")
    page = open_page(token=control_plane.researcher_token("rosa"))
    expect(page.get_by_text("No job matches.")).to_be_visible()
    expect(page.locator("nav a[href^='#/']")).to_have_count(2)
    page.get_by_role("link", name="New job").click()
    page.get_by_label("A pw.x input").fill("&CONTROL\n/\n")
    page.get_by_role("button", name="Show what it would take").click()
    expect(page.get_by_text("input/")).to_be_visible()
    page.get_by_label("A pw.x input").fill(h2())
    page.get_by_role("button", name="Show what it would take").click()
    mobile = page.get_by_label("Atoms that vibrate")
    expect(mobile).to_have_value("0-1")
    scfs = page.locator("dt", has_text="SCFs").locator("xpath=following-sibling::dd").first
    before = scfs.inner_text()
    # The canvas shows the two atoms around its middle, and z upwards: the second is hit.
    canvas = page.get_by_role("img", name="The structure")
    box = canvas.bounding_box()
    assert box
    for step in range(1, 12):
        canvas.click(position={"x": box["width"] / 2, "y": box["height"] / 2 - 10 * step})
        if mobile.input_value() != "0-1":
            break
    expect(mobile).to_have_value("0")
    expect(scfs).not_to_have_text(before)
    mobile.fill("H")
    page.keyboard.press("Enter")
    expect(mobile).to_have_value("0-1")
    page.get_by_label("Name of the job").fill("my hydrogen")
    page.get_by_role("button", name="Submit", exact=True).click()
    expect(page).to_have_url(re.compile("#/job/"))
    expect(page.locator("dd .chip").first).to_have_text("finished")
    expect(page.get_by_text("Mode 5: 4405")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    assert "4405" in download.value.path().read_text()
    first = page.url
    page.get_by_role("button", name="Submit again").click()
    expect(page).not_to_have_url(first)
    page.evaluate("location.hash = '#/tokens'")  # which is for administrators
    expect(page.get_by_role("heading", name="Jobs", exact=True)).to_be_visible()
    expect(page.get_by_role("link", name="my hydrogen")).to_have_count(2)
    expect(page.get_by_text("of somebody else")).to_have_count(0)


def test_a_file_is_dropped(open_page: Open, control_plane: ControlPlane) -> None:
    page = open_page("#/new", token=control_plane.researcher_token("bob"))
    with page.expect_file_chooser() as chooser:
        page.get_by_role("button", name="Choose a file").click()
    chooser.value.set_files({"name": "h2.in", "mimeType": "text/plain", "buffer": h2().encode()})
    expect(page.get_by_label("A pw.x input")).to_have_value(h2())
    dropped = page.evaluate_handle(
        "text => { const data = new DataTransfer(); data.items.add(new File([text], 'a.in')); return data }",
        h2("dropped"),
    )
    page.get_by_label("A pw.x input").dispatch_event("drop", {"dataTransfer": dropped})
    expect(page.get_by_label("A pw.x input")).to_have_value(h2("dropped"))
    page.get_by_role("button", name="Show what it would take").click()
    expect(page.get_by_label("Atoms that vibrate")).to_have_value("0-1")


def test_an_observer_sees_everything_and_finds_nothing_to_press(
    open_page: Open, control_plane: ControlPlane, worker: str
) -> None:
    with control_plane.api() as api:
        reply = api.post("/calc/zpe/admin/tokens", json={"owner": "olga", "role": "observer"})
    page = open_page(token=reply.raise_for_status().json()["token"])
    expect(page.get_by_role("switch", name="New jobs are accepted")).to_be_disabled()
    go(page, "workers")
    expect(row(page, worker)).to_have_count(1)
    for name in ("workers", "leases", "dlq", "tokens", "audit", "jobs"):
        go(page, name)
        expect(page.locator("main h1").first).to_be_visible()
        words = ("Drain", "Revoke", "Release", "Requeue", "Discard", "Make", "New job", "Resume")
        for word in words:
            expect(page.locator("main").get_by_role("button", name=word)).to_have_count(0)


def test_the_keyboard_is_enough(open_page: Open) -> None:
    page = open_page()
    page.locator("nav a").first.focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("#/jobs"))
    expect(page.get_by_label("Search")).to_be_visible()


@pytest.mark.parametrize(("scheme", "sizes"), [("light", (WIDE, NARROW)), ("dark", (NARROW, WIDE))])
def test_it_fits_the_screen(
    open_page: Open, control_plane: ControlPlane, worker: str, scheme: str, sizes: tuple[ViewportSize, ...]
) -> None:
    job = submit(control_plane, name="somewhat long a name, 長い名前の計算")
    wait_until(lambda: status(control_plane, job) == "finished")
    page = open_page("#/overview", viewport=sizes[0], color_scheme=scheme, locale="ja-JP")
    expect(page.locator("html")).to_have_attribute("class", re.compile(scheme))
    page.wait_for_function("document.querySelector('html').lang === 'ja'")
    for name, title in {**PAGES, f"job/{job}": "長い名前の計算"}.items():
        page.evaluate(f"location.hash = '#/{name}'")
        expect(page.locator("main").get_by_text(title).first).to_be_visible()
        for size in sizes:
            page.set_viewport_size(size)
            # What follows the size of the screen does so a little later.
            try:
                page.wait_for_function(f"!({CUT_OFF})().length")
            except TimeoutError:
                raise AssertionError((name, size, page.evaluate(CUT_OFF))) from None


def test_logout_closes_all_tabs_of_the_session_and_no_other(open_page: Open) -> None:
    page, other = open_page(), open_page()
    second = page.context.new_page()
    second.goto(page.url)
    arrive(second)
    page.get_by_role("button", name="Log out").click()
    expect(page.locator("#token")).to_be_visible()
    page.reload()
    expect(page.locator("#token")).to_be_visible()
    assert page.context.cookies() == []
    second.reload()
    expect(second.locator("#token")).to_be_visible()
    go(other, "audit")


@pytest.fixture
def alone(
    own_control_plane: Callable[..., ControlPlane], control_plane: ControlPlane
) -> Iterator[ControlPlane]:
    """A control plane whose dashboard runs by itself, at ``alone.settings["dashboard"]``."""
    plane = own_control_plane(ZPE_DASHBOARD="0")
    # `open_page` logs in with the token of the shared one.
    plane.stop()
    plane.admin_token = control_plane.admin_token
    plane.start()
    port = free_port()
    log = plane.folder / "dashboard.log"
    command = [sys.executable, "-m", "zpe_sdk.cli", "--url", plane.url, "dashboard", "--port", str(port)]
    with Process(command, log, env=environment()):
        plane.settings["dashboard"] = f"http://127.0.0.1:{port}"
        wait_until(lambda: "Uvicorn running" in log.read_text())
        yield plane


def test_alone_it_says_when_the_control_plane_is_away_and_recovers(
    open_page: Open, alone: ControlPlane
) -> None:
    page = open_page(url=alone.settings["dashboard"])
    away = page.get_by_text("The control plane cannot be reached.")
    expect(away).to_be_hidden()
    alone.kill()
    expect(away).to_be_visible()
    alone.start()
    expect(away).to_be_hidden()
    submit(alone, name="after all")
    go(page, "jobs")
    expect(page.get_by_role("link", name="after all")).to_be_visible()


def test_a_login_at_the_issuer_goes_on_by_itself_to_what_was_asked_for(
    chromium: Browser, own_control_plane: Callable[..., ControlPlane]
) -> None:
    with Issuer() as issuer:
        plane = own_control_plane(**issuer.settings)
        issuer.answers = ["authorization_pending"]
        context = chromium.new_context(locale="en-GB")
        page = context.new_page()
        page.set_default_timeout(PATIENCE * 1000)
        page.goto(f"{plane.url}/dashboard/#/jobs")
        page.get_by_role("button", name="Log in at 127.0.0.1").click()
        expect(page.get_by_text("WDJB-MJHT")).to_be_visible()
        page.wait_for_url("**/dashboard/#/jobs")
        expect(page.get_by_role("heading", name="Jobs")).to_be_visible()
        context.close()
