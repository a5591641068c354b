"""deploy/monitoring: rules and dashboard ask for what a control plane tells, and Prometheus takes them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.processes import PATIENCE, ControlPlane, Process, free_port, h2, wait_until

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "monitoring"
TRANSITIONS = ROOT / "server" / "zpe_server" / "lua"
RULES = re.findall(r"^ +expr: (.+)$", (FOLDER / "alerts.yaml").read_text(), flags=re.M)
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "grafana.json").read_text())
TARGETS = [target for panel in DASHBOARD["panels"] for target in panel["targets"]]
PANELS = [target["expr"].replace("$__rate_interval", "1m") for target in TARGETS]
LEGENDS = [set(re.findall(r"{{(\w+)}}", target["legendFormat"])) for target in TARGETS]
NAME = r"\b(?:zpe|process)_\w+|\bup\b"
ITS_OWN = {"up": {"job", "instance"}}  # what Prometheus adds
needs_prometheus = pytest.mark.skipif(
    shutil.which("promtool") is None or shutil.which("prometheus") is None,
    reason="prometheus and promtool are not installed here (Debian: prometheus)",
)


@pytest.fixture(scope="module")
def plane_settings() -> dict[str, object]:
    return {"ZPE_RETRY_MAX": 1, "ZPE_RETRY_BASE_DELAY_SECONDS": 0}


@pytest.fixture(scope="module")
def busy(control_plane: ControlPlane) -> ControlPlane:
    """A control plane that has had a job, a failed attempt, a refused token and a request for nothing."""
    with control_plane.api() as api, control_plane.api("nobody") as nobody:
        nobody.get("/calc/zpe/jobs")
        api.get("/nothing/here")
        api.post("/calc/zpe/jobs", json={"content": h2("mock: fail=pw_crashed task=1 times=1")})
        control_plane.worker()
        wait_until(lambda: api.get("/calc/zpe/jobs", params={"status": "finished"}).json()["total"] == 1)
    return control_plane


def labels_of(plane: ControlPlane) -> dict[str, set[str]]:
    """Return the labels of each sample that a control plane tells of, by its name."""
    with plane.api() as api:
        text = api.get("/metrics").raise_for_status().text
    found: defaultdict[str, set[str]] = defaultdict(set)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] |= set(sample.labels)
    return found


def test_rules_and_panels_ask_for_metrics_and_labels_that_there_are(busy: ControlPlane) -> None:
    told = labels_of(busy) | ITS_OWN
    assert len(RULES) > 5
    assert len(PANELS) > 10
    for expression in RULES + PANELS:
        names = re.findall(NAME, expression)
        assert names, expression
        assert set(names) <= set(told), expression
        labels = {label for name in names for label in told[name]} | ITS_OWN["up"]
        grouped = " ".join(re.findall(r"by \(([^)]*)\)", expression)).replace(",", " ").split()
        matched = re.findall(r"[{,](\w+)=", expression)
        assert set(grouped + matched) <= labels, expression


def test_rules_name_transitions_that_there_are() -> None:
    named = {
        name
        for rule in RULES
        for names in re.findall(r'transition=~"(.+?)"', rule)
        for name in names.split("|")
    }
    assert named
    assert named <= {path.stem for path in TRANSITIONS.glob("*.lua")}


def test_panels_ask_the_chosen_prometheus_and_do_not_cover_one_another() -> None:
    (variable,) = DASHBOARD["templating"]["list"]
    assert (variable["type"], variable["query"]) == ("datasource", "prometheus")
    chosen = {"type": "prometheus", "uid": f"${{{variable['name']}}}"}
    assert all(of["datasource"] == chosen for of in (*DASHBOARD["panels"], *TARGETS))
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        place = panel["gridPos"]
        columns = range(place["x"], place["x"] + place["w"])
        rows = range(place["y"], place["y"] + place["h"])
        cells = {(column, row) for column in columns for row in rows}
        assert max(columns) < 24, panel["title"]  # Grafana's grid has as many columns
        assert not cells & taken, panel["title"]
        taken |= cells
        names = [target["refId"] for target in panel["targets"]]
        assert len(set(names)) == len(names), panel["title"]
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(numbers)) == len(numbers)


def test_latencies_are_told_by_route_and_what_a_sender_makes_up_is_no_label(busy: ControlPlane) -> None:
    with httpx.Client(base_url=busy.url) as client:
        for n in range(5):
            client.request(f"MADE-UP{n}", f"/made/up/{n}")
            client.request(f"MADE-UP{n}", "/calc/zpe/jobs")
    with busy.api() as api:
        text = api.get("/metrics").text
    requests = re.findall(
        r'^zpe_http_request_seconds_count\{method="(.*?)",route="(.*?)",status="(.*?)"\}', text, re.M
    )
    assert {("GET", "/calc/zpe/jobs", "4xx"), ("POST", "/calc/zpe/jobs", "2xx")} <= set(requests)
    assert ("POST", "/calc/zpe/compute/jobs/{job_id}/tasks", "2xx") in requests
    assert ("other", "other", "4xx") in requests
    assert "MADE" not in text
    assert "/made" not in text


def test_what_happened_is_counted(busy: ControlPlane) -> None:
    with busy.api() as api:
        text = api.get("/metrics").text
    values = dict(re.findall(r"^(zpe_\S+) (\S+)$", text, re.M))
    assert float(values["zpe_scf_duration_seconds_count"]) == 3
    assert float(values["zpe_queue_wait_seconds_count"]) == 1
    assert float(values["zpe_planning_seconds_count"]) == 1
    assert float(values["zpe_assembly_seconds_count"]) == 1
    assert float(values['zpe_retries_total{class="compute"}']) == 1
    assert float(values["zpe_logins_rejected_total"]) == 1
    assert float(values["zpe_leases_expired_total"]) == 0


@needs_prometheus
def test_the_rules_fire_when_they_should_and_not_before(tmp_path: Path) -> None:
    for command in ("check rules alerts.yaml", "test rules alerts-test.yaml"):
        done = subprocess.run(["promtool", *command.split()], cwd=FOLDER, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


@needs_prometheus
def test_prometheus_scrapes_a_control_plane_and_answers_every_panel(
    busy: ControlPlane, tmp_path: Path
) -> None:
    token, port = tmp_path / "token", free_port()
    token.write_text(busy.admin_token)
    shutil.copy(FOLDER / "alerts.yaml", tmp_path)
    config = (FOLDER / "prometheus.yaml").read_text()
    for ours, its in (
        ("/etc/prometheus/zpe-metrics-token", str(token)),
        ("127.0.0.1:8000", f"127.0.0.1:{busy.port}"),
        ("scrape_interval: 30s", "scrape_interval: 1s"),
    ):
        assert ours in config
        config = config.replace(ours, its)
    (tmp_path / "prometheus.yaml").write_text(config)
    arguments = (
        "--config.file=prometheus.yaml",
        "--storage.tsdb.path=data",
        f"--web.listen-address=127.0.0.1:{port}",
    )
    with (
        Process(["prometheus", *arguments], tmp_path / "prometheus.log", cwd=tmp_path) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}/api/v1", timeout=PATIENCE) as prometheus,
    ):

        def asked(expression: str) -> list[Any]:
            try:
                reply = prometheus.get("/query", params={"query": expression})
            except httpx.TransportError:  # it starts
                return []
            if reply.status_code == 503:
                return []
            assert reply.status_code == 200, f"{expression}: {reply.text}"
            return list(reply.json()["data"]["result"])

        wait_until(lambda: bool(asked("rate(process_cpu_seconds_total[1m])")))  # two scrapes
        for expression, legend in zip(PANELS, LEGENDS, strict=True):
            answer = asked(expression)
            assert answer, expression
            assert all(legend <= set(series["metric"]) for series in answer), expression
        for expression in RULES:
            asked(expression)
        rules = prometheus.get("/rules").json()["data"]["groups"][0]["rules"]
        assert len(rules) == len(RULES)
        process.terminate()
