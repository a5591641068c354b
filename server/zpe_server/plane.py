"""The parts of a control plane, put together once per process."""

from __future__ import annotations

from dataclasses import dataclass

from zpe_sdk.traces import Traces
from zpe_server.completion import Completion
from zpe_server.dead import DeadLetters
from zpe_server.ended import Ended
from zpe_server.events import Events
from zpe_server.flags import Switches
from zpe_server.jobs import Jobs
from zpe_server.kept import Kept
from zpe_server.leases import Leases
from zpe_server.notices import Notices
from zpe_server.outcomes import Outcomes
from zpe_server.planner import Planner
from zpe_server.prospects import Prospects
from zpe_server.replicas import Replicas
from zpe_server.reports import Reports
from zpe_server.researchers import Researchers
from zpe_server.results import ResultStore, make_result_store
from zpe_server.settings import Settings
from zpe_server.store import Store
from zpe_server.submission import Submission
from zpe_server.targets import Targets
from zpe_server.tokens import Tokens
from zpe_server.workers import Workers


@dataclass(frozen=True)
class Plane:
    """All that a request may need."""

    settings: Settings
    store: Store
    events: Events
    tokens: Tokens
    workers: Workers
    leases: Leases
    reports: Reports
    planner: Planner
    submission: Submission
    jobs: Jobs
    outcomes: Outcomes
    prospects: Prospects
    dead: DeadLetters
    kept: Kept
    flags: Switches
    targets: Targets
    researchers: Researchers
    results: ResultStore
    completion: Completion
    replicas: Replicas
    notices: Notices
    traces: Traces
    ended: Ended

    @classmethod
    def build(cls, settings: Settings, redis_url: str, planner: Planner | None = None) -> Plane:
        """Put the parts together, with a planner that is there already; nothing connects yet."""
        store = Store(redis_url)
        events = Events(store)
        results = make_result_store(settings, store)
        workers = Workers(store, settings, events)
        flags = Switches(store)
        planner = planner or Planner()
        targets = Targets(store, workers)
        researchers = Researchers(store, settings)
        jobs = Jobs(store, events, workers, flags, researchers, settings)
        replicas = Replicas(store, settings)
        traces = Traces("zpe-control-plane", replicas.name)
        return cls(
            settings=settings,
            store=store,
            events=events,
            tokens=Tokens(store, settings, events),
            workers=workers,
            leases=Leases(store, events, settings),
            reports=Reports(store, settings),
            planner=planner,
            submission=Submission(store, planner, settings, targets),
            jobs=jobs,
            outcomes=Outcomes(store, jobs, results),
            prospects=Prospects(store, planner, workers, flags, researchers, targets, settings),
            dead=DeadLetters(store, jobs, settings),
            kept=Kept(store, settings),
            flags=flags,
            targets=targets,
            researchers=researchers,
            results=results,
            completion=Completion(store, results, planner, settings, traces),
            replicas=replicas,
            notices=Notices(store, settings, replicas.name),
            traces=traces,
            ended=Ended(store, traces),
        )
