"""Records of Redis as the API shows them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from zpe_sdk.wire import (
    ErrorInfo,
    HistoryEvent,
    JobRequest,
    JobStatus,
    LabelChanges,
    Labels,
    Progress,
    Requirements,
)
from zpe_server.transitions.base import items


def iso(milliseconds: float | str) -> str:
    """Return a time of Redis's clock (ms) as ISO 8601 in UTC."""
    return datetime.fromtimestamp(float(milliseconds) / 1000, UTC).isoformat(timespec="milliseconds")


def job_status(record: dict[str, Any]) -> JobStatus:
    """Return where a job stands."""
    error = record.get("error")
    return JobStatus(
        job_id=record["job"],
        status=record["status"],
        detail=record.get("detail") or None,
        created_at=iso(record["created"]),
        updated_at=iso(record["updated"]),
        started_at=iso(record["started"]) if record.get("started") else None,
        finished_at=iso(record["finished"]) if record.get("finished") else None,
        progress=Progress(**record["progress"]),
        owner=record["owner"],
        name=record.get("name"),
        formula=record.get("formula"),
        error=ErrorInfo(**json.loads(error)) if error else None,
        workers=sorted(items(record["workers"])),
        running=sorted(items(record.get("running")), key=lambda scf: int(scf["task"])),
        in_dlq=bool(record.get("dlq")),
        version=int(record["version"]),
        taken_back=json.loads(record.get("taken_back") or "[]"),
        engine=json.loads(record["needs"]).get("engine") if record.get("needs") else None,
        kind=record.get("kind") or "vibrations",
        stage=record.get("stage") or "vibrations",
        ionic_step=int(record["ionic_step"]) if record.get("ionic_step") else None,
        max_force_ev_ang=float(record["max_force"]) if record.get("max_force") else None,
        zpe_ev=zpe_ev(record.get("zpe_ev"), record.get("taken_back")),
        expires_at=iso(record["expires"]) if record.get("expires") else None,
        **_labels(record),
    )


def zpe_ev(written: str | None, taken_back: str | None) -> float | None:
    """Return the ZPE of a record (eV), unless a worker that had a part in it was revoked with its results."""
    return float(written) if written and not taken_back else None


def label_fields(labels: Labels | LabelChanges) -> dict[str, str]:
    """Return labels as a record holds them, "" where there is none; what is None is left out."""
    fields = {"project": labels.project, "note": labels.note}
    if labels.tags is not None:
        fields["tags"] = json.dumps(labels.tags) if labels.tags else ""
    if labels.keep is not None:
        fields["keep"] = "1" if labels.keep else ""
    return {name: value for name, value in fields.items() if value is not None}


def _labels(record: Mapping[str, str]) -> dict[str, Any]:
    return {
        "project": record.get("project"),
        "tags": json.loads(record.get("tags") or "[]"),
        "note": record.get("note"),
        "keep": bool(record.get("keep")),
    }


def request_of(record: Mapping[str, str]) -> JobRequest:
    """Return what a job's stage was planned from; what its request left open stands as it was decided."""
    return JobRequest(
        **json.loads(record["payload"]),
        symmetry=record.get("symmetry") != "0",
        allow_state_changes=record.get("allow_state_changes") == "1",
        verify=float(record.get("verify", 0)),
        priority=int(record.get("priority", 0)),
        requires=requirements(json.loads(record.get("needs") or "{}")),
        name=record.get("name"),
        where=record.get("where"),
        **_labels(record),
    )


def requirements(needs: Mapping[str, Any]) -> Requirements:
    """Return what a job wants of a worker beyond what its input needs."""
    return Requirements(**{name: needs[name] for name in Requirements.model_fields if name in needs})


def history_event(text: str) -> HistoryEvent:
    """Return an entry of a job's history as it is shown."""
    event = json.loads(text)
    event["at"] = iso(event["at"])
    event["tasks"] = sorted(int(task) for task in items(event.get("tasks")))
    return HistoryEvent(**event)
