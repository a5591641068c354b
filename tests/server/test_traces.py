"""Traces of jobs: what a collector of OpenTelemetry is told by a control plane and its workers."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from structlog.testing import capture_logs

from tests.processes import ControlPlane, free_port, h2, wait_until
from zpe_sdk.traces import Traces, endpoint
from zpe_sdk.version import __version__

ERROR = Status.STATUS_CODE_ERROR
OFTEN = {"OTEL_BSP_SCHEDULE_DELAY": 50}  # ms
# A process that waits for the end of it tells nothing before it ends.
AT_THE_END = {"OTEL_BSP_SCHEDULE_DELAY": 3_600_000}


@dataclass(frozen=True)
class Told:
    """A span as it has come."""

    trace: str
    number: str
    parent: str
    name: str
    began: int
    ended: int
    error: str | None
    attributes: dict[str, Any] = field(hash=False)
    resource: dict[str, Any] = field(hash=False)

    @property
    def service(self) -> str:
        return str(self.resource["service.name"])


class Sink:
    """A collector: it keeps what it takes, refuses with a status, or gives no answer at all."""

    def __init__(self, *, status: int = 200, hangs: bool = False) -> None:
        self.status = status
        self.spans: list[Told] = []
        self.bodies = b""
        self.calls = 0
        self.over = threading.Event()
        sink = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                sink.calls += 1
                if hangs:
                    sink.over.wait()
                    return
                if sink.status == 200 and self.path == "/v1/traces":
                    sink.bodies += body
                    sink.spans += read(body)
                self.send_response(sink.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self) -> Sink:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.server.shutdown()
        self.server.server_close()

    def settings(self, **more: object) -> dict[str, object]:
        return {"OTEL_EXPORTER_OTLP_ENDPOINT": self.url, "ZPE_DASHBOARD": "false", **OFTEN, **more}

    def of(self, job: str) -> dict[str, list[Told]]:
        """Return the spans of a job by name, the first to begin first."""
        found: dict[str, list[Told]] = {}
        for span in sorted(self.spans, key=lambda span: span.began):
            if span.trace == job:
                found.setdefault(span.name, []).append(span)
        return found


def read(body: bytes) -> list[Told]:
    found = []
    for of_process in ExportTraceServiceRequest.FromString(body).resource_spans:
        for of_scope in of_process.scope_spans:
            found += [
                Told(
                    span.trace_id.hex(),
                    span.span_id.hex(),
                    span.parent_span_id.hex(),
                    span.name,
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                    span.status.message if span.status.code == ERROR else None,
                    values(span.attributes),
                    values(of_process.resource.attributes),
                )
                for span in of_scope.spans
            ]
    return found


def values(attributes: Any) -> dict[str, Any]:
    return {pair.key: value(pair.value) for pair in attributes}


def value(said: Any) -> Any:
    kind = said.WhichOneof("value")
    if kind == "array_value":
        return [value(item) for item in said.array_value.values]
    return getattr(said, kind)


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as sink:
        yield sink


def submit(plane: ControlPlane, title: str = "", **more: object) -> str:
    with plane.api() as api:
        request = {"content": h2(title), **more}
        return str(api.post("/calc/zpe/jobs", json=request).raise_for_status().json()["job_id"])


def wait_for(plane: ControlPlane, job: str, status: str) -> None:
    with plane.api() as api:
        wait_until(lambda: api.get(f"/calc/zpe/jobs/{job}").json()["status"] == status)


def test_a_job_is_one_trace_from_submission_to_result(
    own_control_plane: Callable[..., ControlPlane], sink: Sink
) -> None:
    plane = own_control_plane(**sink.settings())
    plane.worker("lab-pc-3", **sink.settings(ZPE_SLOTS=1))
    job = submit(plane, "a private title", name="secret plan")
    wait_until(lambda: {"job", "plan", "wait", "scf", "deliver", "assemble"} <= set(sink.of(job)))
    wait_until(lambda: len(sink.of(job)["scf"]) == 3)
    wait_until(lambda: sum(span.attributes["zpe.messages"] for span in sink.of(job)["deliver"]) == 3)

    assert {span.trace for span in sink.spans} == {job}
    spans = sink.of(job)
    (root,), (wait,), (plan,) = spans["job"], spans["wait"], spans["plan"]
    assert root.number == job[16:]
    assert root.parent == ""
    for span in sink.spans:
        assert span.ended >= span.began
        assert root.began <= span.began <= root.ended
        if span is not root:
            assert span.parent == root.number
        if span.name != "deliver":  # the last reply is on its way while the result is made
            assert span.ended <= root.ended
    assert plan.ended <= wait.began
    assert all(wait.ended <= scf.began <= scf.ended <= spans["assemble"][-1].began for scf in spans["scf"])

    services = {span.service: set[str]() for span in sink.spans}
    for span in sink.spans:
        services[span.service].add(span.name)
        assert span.resource["service.version"] == __version__
    assert services == {
        "zpe-control-plane": {"job", "plan", "wait", "assemble"},
        "zpe-worker": {"scf", "deliver"},
    }
    assert {span.resource["service.instance.id"] for span in spans["scf"]} == {"lab-pc-3"}
    assert not [span for span in sink.spans if span.error is not None]

    assert root.attributes == {
        "zpe.status": "finished",
        "zpe.kind": "vibrations",
        "zpe.atoms": 2,
        "zpe.scfs": 3,
        "zpe.scfs_reused": 0,
    }
    assert [scf.attributes["zpe.task"] for scf in spans["scf"]] == [0, 1, 2]
    assert [scf.attributes["zpe.scf"] for scf in spans["scf"]] == ["equilibrium", *["displacement"] * 2]
    last = spans["scf"][-1].attributes
    assert sum(abs(x) for x in last["zpe.displacement_ang"]) > 0
    assert {last["zpe.outcome"], last["zpe.engine"]} == {"done", "mock"}

    for private in ("private title", "secret plan", "kjpaw", plane.admin_token, "admin"):
        assert private.encode() not in sink.bodies


def test_a_failed_job_says_why_and_what_became_of_it_when_it_was_requeued(
    own_control_plane: Callable[..., ControlPlane], sink: Sink
) -> None:
    plane = own_control_plane(ZPE_RETRY_MAX=0, **sink.settings())
    plane.worker(**sink.settings(ZPE_SLOTS=1))
    job = submit(plane, "mock: fail=pw_crashed task=1 times=1")
    wait_until(lambda: {"job", "scf"} <= set(sink.of(job)))
    (root,) = sink.of(job)["job"]
    assert root.error == "pw_crashed"
    assert root.attributes["zpe.status"] == "failed"
    assert root.attributes["zpe.error_side"] == "compute"
    wait_until(lambda: "pw_crashed" in {scf.error for scf in sink.of(job)["scf"]})
    (scf,) = [scf for scf in sink.of(job)["scf"] if scf.error]
    assert scf.attributes["error.type"] == "pw_crashed"
    assert scf.attributes["zpe.outcome"] == "failed"
    assert (scf.attributes["zpe.task"], scf.parent) == (1, root.number)

    with plane.api() as api:
        api.post("/calc/zpe/admin/dlq/requeue", json={"job_ids": [job]}).raise_for_status()
    wait_until(lambda: "again" in sink.of(job))
    (again,) = sink.of(job)["again"]
    assert again.error is None
    assert again.attributes["zpe.status"] == "finished"
    assert again.parent == root.number
    assert root.ended - again.began <= 1_000_000  # ns: the ms in which it had failed
    assert {name: len(sink.of(job)[name]) for name in ("job", "plan", "wait")} == {
        "job": 1,
        "plan": 1,
        "wait": 1,
    }


def test_a_cancelled_job_has_waited_to_its_end(
    own_control_plane: Callable[..., ControlPlane], sink: Sink
) -> None:
    plane = own_control_plane(**sink.settings())
    job = submit(plane)
    with plane.api() as api:
        api.post(f"/calc/zpe/jobs/{job}/cancel").raise_for_status()
    wait_until(lambda: {"job", "wait"} <= set(sink.of(job)))
    (root,), (wait,) = sink.of(job)["job"], sink.of(job)["wait"]
    assert (root.error, root.attributes["zpe.status"]) == (None, "cancelled")
    assert wait.ended == root.ended


def test_a_relaxation_shows_its_steps_and_that_the_displacements_were_planned_after_it(
    own_control_plane: Callable[..., ControlPlane], sink: Sink
) -> None:
    plane = own_control_plane(**sink.settings())
    plane.worker(**sink.settings())
    job = submit(plane, relax=True)
    wait_until(lambda: {"job", "relaxation"} <= set(sink.of(job)))
    with plane.api() as api:
        total = api.get(f"/calc/zpe/jobs/{job}").json()["progress"]["total"]
    wait_until(
        lambda: Counter(scf.attributes["zpe.scf"] for scf in sink.of(job)["scf"])["displacement"] == total - 1
    )
    spans = sink.of(job)
    (relaxation,), (first, second) = spans["relaxation"], spans["plan"]
    steps = [scf for scf in spans["scf"] if scf.attributes["zpe.scf"] == "ionic step"]
    assert [scf.attributes["zpe.step"] for scf in steps] == list(range(len(steps)))
    assert first.ended <= relaxation.began < relaxation.ended <= second.began


def test_what_is_left_is_told_at_the_end(own_control_plane: Callable[..., ControlPlane], sink: Sink) -> None:
    plane = own_control_plane(**sink.settings(**AT_THE_END))

    def all_is_told() -> bool:
        job = submit(plane)
        assert plane.worker(**sink.settings(**AT_THE_END, ZPE_DRAIN="true")).wait() == 0
        by_worker = set(sink.of(job))
        wait_for(plane, job, "finished")
        plane.stop()
        by_plane = set(sink.of(job)) - by_worker
        plane.start()
        return (by_worker, by_plane) == ({"scf", "deliver"}, {"job", "plan", "wait", "assemble"})

    # A process waits no longer than a second for that, and a busy machine may take longer.
    assert any(all_is_told() for _ in range(5))


@pytest.mark.parametrize("how", ["refuses", "hangs", "is away"])
def test_a_collector_that_takes_nothing_ends_and_delays_nothing(
    how: str, own_control_plane: Callable[..., ControlPlane]
) -> None:
    with Sink(status=401, hangs=how == "hangs") as sink:
        settings = sink.settings()
        if how == "is away":
            settings["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{free_port()}"
        plane = own_control_plane(**settings)
        jobs = [submit(plane) for _ in range(3)]
        worker = plane.worker(ZPE_DRAIN="true", **settings)
        for job in jobs:
            wait_for(plane, job, "finished")
        assert worker.wait() == 0
        plane.stop()
        assert plane.process is not None
        assert plane.process.returncode == 0
        assert sink.calls > 0 or how == "is away"
        assert "Traceback" not in plane.log + worker.log.read_text()


def test_an_outage_of_the_collector_is_said_once_and_so_is_its_end(
    own_control_plane: Callable[..., ControlPlane],
) -> None:
    with Sink(status=401) as sink:
        plane = own_control_plane(**sink.settings())
        plane.worker()
        for n in range(3):
            wait_for(plane, submit(plane), "finished")
            wait_until(lambda n=n: sink.calls > n)  # type: ignore[misc]
        assert plane.log.count("the collector takes no spans") == 1
        assert plane.log.count("status 401") == 1
        assert "Failed to export" not in plane.log
        sink.status = 200
        job = submit(plane)
        wait_until(lambda: "job" in sink.of(job))
        wait_until(lambda: "the collector takes spans again" in plane.log)


def test_only_ids_that_a_trace_can_have_are_traced(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", sink.url)
    traces = Traces("zpe-worker", "lab-pc-3")
    assert traces.on
    ids = ["0" * 16 + "f" * 16, "f" * 16 + "0" * 16]
    for job in ["0" * 32, "F" * 32, "j1", "", *ids]:
        traces.job(job, 1, 2)
        traces.span(job, "scf", 2, 1)
    traces.close(60)
    assert {span.trace for span in sink.spans} == set(ids)
    assert {span.number for span in sink.spans if span.name == "job"} == {"f" * 16}
    assert {span.parent for span in sink.spans if span.name == "scf"} == {"f" * 16}
    assert {span.ended for span in sink.spans} == {2}  # of none before it began


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({}, None),
        ({"ENDPOINT": "http://host:4318"}, "http://host:4318/v1/traces"),
        ({"ENDPOINT": "http://host:4318/"}, "http://host:4318/v1/traces"),
        ({"ENDPOINT": "https://host/otlp"}, "https://host/otlp/v1/traces"),
        ({"TRACES_ENDPOINT": "https://host/in"}, "https://host/in"),
        ({"TRACES_ENDPOINT": "https://host/in", "ENDPOINT": "http://other"}, "https://host/in"),
        ({"TRACES_ENDPOINT": "", "ENDPOINT": "http://host"}, "http://host/v1/traces"),
        ({"TRACES_ENDPOINT": "", "ENDPOINT": ""}, None),
    ],
)
def test_variables_of_opentelemetry_say_where_spans_go(variables: dict[str, str], url: str | None) -> None:
    named = {f"OTEL_EXPORTER_OTLP_{name}": value for name, value in variables.items()}
    assert endpoint(named) == url
    for off in ({"OTEL_SDK_DISABLED": "TRUE"}, {"OTEL_TRACES_EXPORTER": "none"}):
        assert endpoint(named | off) is None
    for on in ({"OTEL_SDK_DISABLED": "false"}, {"OTEL_TRACES_EXPORTER": "console, otlp"}):
        assert endpoint(named | on) == url


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "OTEL_EXPORTER_OTLP_PROTOCOL is grpc, and spans go by"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "5000", "max_export_batch_size must be less than"),
    ],
)
def test_a_variable_that_asks_for_what_there_is_not_is_told_and_the_program_goes_on(
    name: str, value: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    monkeypatch.setenv(name, value)
    with capture_logs() as logs:
        traces = Traces("zpe-worker", "lab-pc-3")
    (line,) = logs
    assert line["reason"].startswith(said)
    assert not traces.on


class Without:
    """Makes a module one that is not installed."""

    def __init__(self, name: str) -> None:
        self.name = name

    def find_spec(self, name: str, *_: object) -> None:
        if name == self.name:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@pytest.mark.parametrize("missing", ["requests", "opentelemetry.sdk", "opentelemetry.exporter"])
def test_without_the_extra_the_log_says_what_to_install_and_the_program_goes_on(
    missing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [name for name in sys.modules if name.startswith(missing) or name == "zpe_sdk.collector"]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setattr(sys, "meta_path", [Without(missing), *sys.meta_path])
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://127.0.0.1:4318/v1/traces")
    with capture_logs() as logs:
        traces = Traces("zpe-worker", "lab-pc-3")
        traces.span("f" * 32, "scf", 1, 2)
        traces.close(1)
    (line,) = logs
    assert line["log_level"] == "warning"
    assert line["reason"].startswith("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT needs the SDK of OpenTelemetry")
    assert "pip install 'zpe[traces]'" in line["reason"]
    assert not traces.on
