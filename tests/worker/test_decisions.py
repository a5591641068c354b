"""The worker's decisions, one at a time: what random sequences reach too seldom, or would not miss."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import pytest

from tests.worker.plane import lease_of
from zpe_sdk.errors import Side
from zpe_sdk.wire import Fingerprint, HeartbeatReply, IonicStep, JobKind, LeaseReply, Task, TaskReport
from zpe_sdk.wire.relaxation import RelaxationEnd
from zpe_sdk.worker.actions import Action, Note, Send, Stop
from zpe_sdk.worker.engines import StepTaken
from zpe_sdk.worker.held import Ask, Run
from zpe_sdk.worker.messages import Answer, Failure, OutboxMessage
from zpe_sdk.worker.workload import Workload

ASK = Ask(8, idle=True, warm=[])
FINGERPRINT = Fingerprint(engine="mock", engine_version="1", physics="x")


def lease(
    name: str, tasks: Sequence[int] = (0,), job: str = "j1", stage: JobKind = "vibrations"
) -> LeaseReply:
    return lease_of(name, tasks, job, stage=stage)


def report(task: int) -> TaskReport:
    return TaskReport(
        task=task, energy_ev=-1.0, forces_ev_ang=[(0.1, 0, 0)], fingerprint=FINGERPRINT, scf_seconds=1.0
    )


def always(task: Task, *, job_id: str, running: Collection[Task]) -> bool:
    return True


def begun(workload: Workload, now: float = 0.0) -> Run:
    found = workload.begin(now, always)
    assert found is not None
    return found[0]


def sent(actions: list[Action]) -> list[OutboxMessage]:
    return [action.message for action in actions if isinstance(action, Send)]


def waiting(workload: Workload, name: str) -> list[int]:
    return [task.index for task in workload.leases[name].waiting]


def lost(*names: str) -> HeartbeatReply:
    return HeartbeatReply(leases=dict.fromkeys(names, "lost"), lease_ttl_seconds=600)


def test_a_worker_that_is_drained_asks_for_nothing_until_it_is_welcome_again() -> None:
    workload = Workload(2)
    assert workload.wanted(0.0)
    workload.renewed(HeartbeatReply(leases={}, lease_ttl_seconds=600, draining=True))
    assert workload.wanted(0.0) is None
    workload.renewed(HeartbeatReply(leases={}, lease_ttl_seconds=600))
    assert workload.wanted(0.0)
    workload.stop()
    assert workload.wanted(0.0) is None


@pytest.mark.parametrize(
    ("drain", "idle", "ends"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_without_work_it_ends_if_it_is_to_and_has_nothing_on_hand(
    drain: bool, idle: bool, ends: bool
) -> None:
    workload = Workload(2)
    workload.found_nothing(Ask(2, idle=idle, warm=[]), drain=drain)
    assert workload.ended is ends


def test_a_lease_that_comes_twice_changes_nothing() -> None:
    workload = Workload(4, has_others=False)
    workload.take(lease("l1", [0, 1]), ASK, slots=(1, 1))
    run = begun(workload)
    assert workload.take(lease("l1", [0, 1]), ASK, slots=(1, 1)) == []
    assert (waiting(workload, "l1"), list(workload.runs.values())) == ([1], [run])


def test_what_comes_after_its_end_goes_back() -> None:
    workload = Workload(2)
    workload.stop()
    [message] = sent(workload.take(lease("l1", [0, 1]), ASK, slots=(1, 1)))
    assert (message.kind, message.returned) == ("release", None)
    assert workload.leases == {}


def test_the_equilibrium_begins_first() -> None:
    workload = Workload(2)
    workload.take(lease("l1", [2, 0]), ASK, slots=(1, 1))
    assert begun(workload).task.index == 0


def test_a_task_that_is_worth_waiting_for_is_left_out() -> None:
    workload = Workload(3)
    workload.take(lease("l1", [0, 1, 2]), ASK, slots=(1, 1))

    def ready(task: Task, *, job_id: str, running: Collection[Task]) -> bool:
        return task.index == 1

    found = workload.begin(0.0, ready)
    assert found is not None
    assert found[0].task.index == 1
    assert workload.begin(0.0, ready) is None


def test_small_scfs_do_not_starve_a_large_one() -> None:
    workload = Workload(2, has_others=False)
    workload.take(lease("l1", job="small"), ASK, slots=(1, 1))
    first = begun(workload)
    workload.take(lease("l2", job="large"), ASK, slots=(2, 2))
    workload.take(lease("l3", job="small-too"), ASK, slots=(1, 1))
    assert workload.begin(0.0, always) is None
    workload.finish(first, report(0), 1.0)
    assert begun(workload).lease.lease_id == "l2"


def test_nothing_begins_that_would_not_end_in_time() -> None:
    workload = Workload(1, has_others=False, now=0.0, max_seconds=100.0)
    workload.take(lease("l1", [0, 1, 2]), ASK, slots=(1, 1))
    workload.finish(begun(workload), report(0), 40.0)
    begun(workload, 40.0)
    workload.finish(next(iter(workload.runs.values())), report(1), 40.0)
    assert workload.begin(80.0, always) is None
    assert workload.ended


def test_what_others_could_run_sooner_goes_back() -> None:
    workload = Workload(2, has_others=True)
    [message] = sent(workload.take(lease("l1", [0, 1, 2, 3]), ASK, slots=(2, 2)))
    assert message.returned == [1, 2, 3]
    assert waiting(workload, "l1") == [0]


def test_what_is_finished_under_a_lost_lease_counts_under_the_next_and_is_not_computed_again() -> None:
    workload = Workload(2, has_others=False)
    workload.take(lease("l1", [0, 1]), ASK, slots=(1, 1))
    undelivered = sent(workload.finish(begun(workload), report(0), 1.0))
    workload.renewed(lost("l1"))
    [message] = sent(workload.take(lease("l2", [0, 1]), ASK, slots=(1, 1), undelivered=undelivered))
    assert (message.lease_id, message.report) == ("l2", report(0))
    assert waiting(workload, "l2") == [1]


def test_a_steps_message_follows_its_relaxation_to_the_next_lease() -> None:
    workload = Workload(1, has_others=False)
    workload.take(lease("l1"), ASK, slots=(1, 1))
    run = begun(workload)
    step = IonicStep(
        index=0,
        positions=[(0, 0, 0)],
        energy_ev=-1.0,
        forces_ev_ang=[(0, 0, 0.1)],
        max_force_ev_ang=0.1,
        scf_seconds=1.0,
    )
    undelivered = sent(workload.stepped(run, StepTaken(step, [(0, 0, 0.01)], "history", FINGERPRINT)))
    workload.renewed(lost("l1"))
    [message] = sent(workload.take(lease("l2"), ASK, slots=(1, 1), undelivered=undelivered))
    assert message.step
    assert (message.lease_id, message.step.lease_id, message.step.step) == ("l2", "l2", step)
    assert run.lease.lease_id == "l2"


def relaxed() -> TaskReport:
    return report(0).model_copy(
        update={"relaxation": RelaxationEnd(reason="converged", positions=[(0, 0, 0)])}
    )


def test_the_answer_to_a_relaxation_does_not_end_the_displacements_that_came_before_it() -> None:
    workload = Workload(1, has_others=False)
    workload.take(lease("l1", stage="relax"), ASK, slots=(1, 1))
    [message] = sent(workload.finish(begun(workload), relaxed(), 1.0))
    # The report under way, the control plane has planned what follows and leased it: it is computed.
    assert sent(workload.take(lease("l2", [0, 1]), ASK, slots=(1, 1), undelivered=[message])) == []
    assert waiting(workload, "l2") == [0, 1]
    workload.answered(message, Answer(job="started", lease="lost"))
    assert waiting(workload, "l2") == [0, 1]
    assert begun(workload).task.index == 0


def test_displacements_wait_until_a_relaxation_that_others_have_finished_is_stopped() -> None:
    workload = Workload(2, has_others=False)
    workload.take(lease("l1", stage="relax"), ASK, slots=(1, 1))
    relaxation = begun(workload)
    workload.renewed(lost("l1"))
    assert Stop(relaxation) in workload.take(lease("l2", [0]), ASK, slots=(1, 1))
    assert workload.begin(0.0, always) is None
    workload.finish(relaxation, None, 1.0)
    run = begun(workload)
    assert (run.lease.lease_id, run.task.index) == ("l2", 0)


def test_scfs_to_be_run_again_that_come_before_the_answer_to_the_last_one_are_run() -> None:
    workload = Workload(1, has_others=False)
    workload.take(lease("l1"), ASK, slots=(1, 1))
    [message] = sent(workload.finish(begun(workload), report(0), 1.0))
    workload.take(lease("l2", [1]), ASK, slots=(1, 1))
    workload.answered(message, Answer(job="started", lease="lost", complete=True))
    assert begun(workload).task.index == 1


def test_tasks_that_come_under_another_lease_wait_there_alone() -> None:
    workload = Workload(1, has_others=False)
    workload.take(lease("l1", [0, 1, 2]), ASK, slots=(1, 1))
    workload.take(lease("l2", [1, 2]), ASK, slots=(1, 1))
    assert (waiting(workload, "l1"), waiting(workload, "l2")) == ([0], [1, 2])


def test_the_last_report_of_a_lease_hurries() -> None:
    workload = Workload(1, has_others=False)
    workload.take(lease("l1", [0, 1]), ASK, slots=(1, 1))
    hurries = [
        [
            action.hurry
            for action in workload.finish(begun(workload), report(n), 1.0)
            if isinstance(action, Send)
        ]
        for n in range(2)
    ]
    assert hurries == [[False], [True]]


@pytest.mark.parametrize(("side", "fails", "stay"), [("compute", [0], [1, 2]), ("config", [0, 1, 2], [])])
def test_a_failure_of_the_machine_is_one_of_all_that_waits(
    side: Side, fails: list[int], stay: list[int]
) -> None:
    workload = Workload(1, has_others=False)
    workload.take(lease("l1", [0, 1, 2]), ASK, slots=(1, 1))
    [message] = sent(workload.finish(begun(workload), Failure("pw_crashed", "!", side), 1.0))
    assert message.failure
    assert message.failure.tasks == fails
    assert [task.index for held in workload.leases.values() for task in held.waiting] == stay


@pytest.mark.parametrize(("state", "stops"), [("lost", False), ("cancelled", True)])
def test_what_runs_under_a_lost_lease_goes_on_and_under_a_cancelled_one_stops(
    state: str, stops: bool
) -> None:
    workload = Workload(2, has_others=False)
    workload.take(lease("l1", [0, 1]), ASK, slots=(1, 1))
    run = begun(workload)
    actions = workload.renewed(
        HeartbeatReply.model_validate({"leases": {"l1": state}, "lease_ttl_seconds": 600})
    )
    assert (Stop(run) in actions) is stops
    assert waiting(workload, "l1") == []
    # Nobody hands back what is not its own any more.
    workload.finish(run, None, 1.0)
    assert workload.leases == {}


def test_of_a_job_that_is_over_everything_stops() -> None:
    workload = Workload(2, has_others=False)
    workload.take(lease("l1", [0, 1]), ASK, slots=(1, 1))
    message = sent(workload.finish(begun(workload), report(0), 1.0))[0]
    run = begun(workload)
    assert Stop(run) in workload.answered(message, Answer(job="failed"))


def test_what_an_answer_says_of_its_lease_counts() -> None:
    workload = Workload(1, has_others=False)
    workload.take(lease("l1", [0, 1, 2]), ASK, slots=(1, 1))
    message = sent(workload.finish(begun(workload), report(0), 1.0))[0]
    workload.answered(message, Answer(left=[1]))
    assert waiting(workload, "l1") == [1]
    workload.answered(message, Answer(lease="lost"))
    assert workload.leases == {}


def test_one_that_is_told_to_stop_stops_what_runs_and_begins_nothing() -> None:
    workload = Workload(1, has_others=False)
    workload.take(lease("l1", [0, 1]), ASK, slots=(1, 1))
    run = begun(workload)
    assert workload.stop() == [Stop(run)]
    workload.finish(run, None, 1.0)
    assert workload.begin(0.0, always) is None


def test_a_run_that_was_stopped_waits_again_and_the_journal_says_so() -> None:
    workload = Workload(2, has_others=False)
    workload.take(lease("l1", [0, 1]), ASK, slots=(1, 1))
    [note] = workload.finish(begun(workload), None, 1.0)
    assert isinstance(note, Note)
    assert (note.entry.running, note.entry.waiting) == ([], [0, 1])
    assert begun(workload).task.index == 0


def test_a_task_that_was_recalled_does_not_come_back() -> None:
    workload = Workload(2, has_others=False)
    workload.take(lease("l1", [0, 1, 2]), ASK, slots=(1, 1))
    run = begun(workload)
    left = HeartbeatReply(leases={"l1": "held"}, left={"l1": [1]}, lease_ttl_seconds=600)
    workload.renewed(left)
    assert waiting(workload, "l1") == [1]
    workload.finish(run, None, 1.0)
    assert waiting(workload, "l1") == [1]
