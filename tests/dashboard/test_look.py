"""What the dashboard says of a job in a few words."""

from __future__ import annotations

from typing import Any

import pytest

from zpe_dashboard.components import Code, Table
from zpe_dashboard.look import kind_of, relaxing
from zpe_dashboard.words import Words
from zpe_sdk.wire import JobStatus, Progress

NOW = "2026-01-02T03:04:05+00:00"


def job(**fields: Any) -> JobStatus:
    known = {"job_id": "j", "status": "started", "updated_at": NOW, "created_at": NOW}
    return JobStatus(**(known | {"progress": Progress(done=0, total=1)} | fields))


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"stage": "relax", "ionic_step": 7, "max_force_ev_ang": 0.0812}, "step 7, largest force 0.081 eV/Å"),
        ({"stage": "relax"}, ""),
        ({"stage": "vibrations", "ionic_step": 7, "max_force_ev_ang": 0.002}, ""),
        ({"stage": "relax", "ionic_step": 7, "max_force_ev_ang": 0.002, "status": "finished"}, ""),
    ],
)
def test_a_relaxation_says_how_far_it_is_while_it_goes_on(fields: dict[str, Any], told: str) -> None:
    assert relaxing(job(**fields), Words("en")).endswith(told)
    assert bool(relaxing(job(**fields), Words("ja"))) == bool(told)


def test_each_kind_of_job_has_a_name() -> None:
    named = {kind: kind_of(job(kind=kind), Words("en")) for kind in ("vibrations", "relax", "energy")}
    assert named == {"vibrations": "vibrations", "relax": "relaxation", "energy": "single energy"}


def test_what_a_component_shows_turns_no_line_round() -> None:
    evil, shown = "ada\u202egnp.exe\x1b[31m", "ada gnp.exe [31m"
    table = Table(columns=[{"key": "name", "label": "Name"}], rows=[{"id": "1", "name": {"text": evil}}])
    model = table.get_root()
    assert model.data.rows == [{"id": "1", "name": {"text": shown}}]
    table.rows = [{"id": "2", "name": [evil]}]
    assert model.data.rows == [{"id": "2", "name": [shown]}]
    assert Code(text=f"{evil}\nsecond line").get_root().data.text == f"{shown}\nsecond line"
