"""What Prometheus reads: the state of things, the same from every replica, and what this one has measured."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from zpe_server.measures import REGISTRY
from zpe_server.store import Store
from zpe_server.transitions.base import items
from zpe_server.transitions.service import ReadMetrics


async def exposition(store: Store, *, alive_seconds: float) -> bytes:
    """Return all metrics as text.

    Parameters
    ----------
    store
        Where everything stands.
    alive_seconds
        A worker that was heard of within so long is alive.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshot(await store.transition(ReadMetrics()), alive_seconds))
    return generate_latest(registry) + generate_latest(REGISTRY)


class _Snapshot(Collector):
    def __init__(self, found: dict[str, Any], alive_seconds: float) -> None:
        self._found = found
        self._alive_ms = alive_seconds * 1000

    def collect(self) -> Iterable[Metric]:
        """Yield the metrics of one look into the store."""
        found = self._found
        jobs = GaugeMetricFamily("zpe_jobs", "Jobs by state", labels=["state"])
        for state, count in found["jobs"].items():
            jobs.add_metric([state], count)
        yield jobs
        for name, text in (
            ("ready", "Jobs with tasks that wait for a worker"),
            ("delayed", "Jobs whose next attempt is due later"),
            ("leases", "Leases in force"),
            ("dlq", "Jobs in the dead-letter queue"),
            ("assemble", "Jobs whose result is being made or stored"),
        ):
            yield GaugeMetricFamily(f"zpe_{name}", text, value=found[name])
        yield GaugeMetricFamily(
            "zpe_oldest_queued_seconds",
            "Age of the oldest queued job",
            value=found.get("oldest_ms", 0) / 1000,
        )
        counters: dict[str, int] = dict(found["counters"])
        for kind, text in (
            ("attempts", "Failed attempts of SCFs by class"),
            ("retries", "Failed attempts of SCFs after which they are tried again, by class"),
        ):
            counted = CounterMetricFamily(f"zpe_{kind}", text, labels=["class"])
            for name, count in counters.items():
                if name.startswith(f"{kind}:"):
                    counted.add_metric([name.removeprefix(f"{kind}:")], count)
            yield counted
        yield CounterMetricFamily(
            "zpe_leases_expired",
            "Leases whose worker was not heard of in time",
            value=counters.get("leases_expired", 0),
        )
        yield from self._workers()

    def _workers(self) -> Iterable[Metric]:
        found = items(self._found["workers"])
        alive = [
            worker
            for worker in found
            if worker["present"] and self._found["now"] - worker["seen"] < self._alive_ms
        ]
        yield GaugeMetricFamily("zpe_workers_alive", "Workers heard of lately", value=len(alive))
        for field, name, text in (
            ("scf_done", "zpe_scf_done", "SCFs done"),
            ("scf_failed", "zpe_scf_failed", "SCFs failed"),
            ("scf_seconds", "zpe_scf_seconds", "Seconds that the SCFs done have taken"),
        ):
            family = CounterMetricFamily(name, text, labels=["worker", "worker_id"])
            for worker in found:
                family.add_metric([worker["name"], worker["id"]], worker[field])
            yield family
