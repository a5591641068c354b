"""What researchers ask and hear of themselves, their groups, and the workers that may run their jobs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from zpe_sdk.wire.labels import ProjectName
from zpe_sdk.wire.messages import Id, Line, Message, OwnerName, SecretToken
from zpe_sdk.wire.names import Accepts, PersonRole, WorkerState


class Presence(Message):
    """Whether a compute node is there, and whether it gets new work.

    ``alive``: heard of within a minute, or at work. ``ended``: it has said goodbye. One that is neither is
    silent: nobody knows why.
    """

    alive: bool = False
    ended: bool = False
    draining: bool = False

    @property
    def state(self) -> WorkerState:
        """These in a word."""
        return "alive" if self.alive else "ended" if self.ended else "silent"


class WorkerTarget(Presence):
    """A worker that may run one's jobs.

    ``target_id`` and ``server_id`` are its id, ``queue_name`` is its name: what a job's ``where`` may be.
    ``owner`` is null where administrators have enrolled it.
    """

    target_id: Line
    queue_name: Line
    server_id: Id
    registered_at: str
    name: Line
    owner: Line | None = None
    accepts: Accepts = "all"
    mine: bool = False
    engine: Line | None = None
    engine_version: Line | None = None
    slots: int | None = None
    leases: int = 0
    last_seen_at: str | None = None


class TargetList(Message):
    """The workers that may run one's jobs, one's own first; ``active_target_id`` is the selected target.

    It is null where any of them may run a job that does not say ``where``, and ``mine`` where one's own may.
    """

    targets: list[WorkerTarget]
    active_target_id: Line | None = None


class TargetRequest(Message):
    """The target of jobs that do not say ``where``: a worker's id, ``mine`` or ``any``."""

    target_id: Annotated[str, Field(min_length=1, max_length=200)]


class TargetReply(Message):
    """The target that is selected now; null: any."""

    active_target_id: Line | None = None


class Limits(Message):
    """What a researcher may have; null: as much as there is.

    ``priority`` is the highest that counts against the jobs of others, ``jobs`` how many may be queued or
    started, ``scfs`` how many SCFs workers of others may run at once, ``bytes`` how much may be kept of
    requests and results.
    """

    priority: Annotated[int, Field(strict=True, ge=-100, le=100)] | None = None
    jobs: Annotated[int, Field(strict=True, ge=0, le=10**14)] | None = None
    scfs: Annotated[int, Field(strict=True, ge=0, le=10**14)] | None = None
    bytes: Annotated[int, Field(strict=True, ge=0, le=10**14)] | None = None


class Usage(Message):
    """What a researcher has: jobs queued or started, SCFs running on workers of others, bytes kept.

    ``scf_hours`` is how many hours the SCFs took that were done in this month (UTC), on all workers, also on
    one's own.
    """

    jobs: int
    scfs: int
    bytes: int
    scf_hours: float = 0.0


class LoginOptions(Message):
    """How one logs in: at ``issuer``, or (null) with a token from an administrator.

    ``zpe login`` is the client ``client_id`` there, asks for ``scope``, and sends the ``token`` of that kind.
    """

    issuer: str | None = None
    client_id: str = ""
    scope: str = ""
    token: Literal["id_token", "access_token"] = "id_token"


class ApiTokenReply(Message):
    """The token of a person; this is the only time it is shown."""

    token: SecretToken
    token_id: Id
    owner: Line
    role: PersonRole = "researcher"
    label: Line | None = None
    expires_at: str | None = None


class RetentionRequest(Message):
    """How many days the jobs of a project are remembered once they are over; null: as for all."""

    owner: OwnerName
    project: ProjectName
    days: Annotated[float, Field(gt=0, le=3650)] | None = None


class Retention(Message):
    """How many days the jobs of a project are remembered once they are over, and how many are."""

    owner: Line
    project: Line
    days: float | None = None
    jobs: int | None = None


class RetentionList(Message):
    """The projects of which it is said how long their jobs are remembered."""

    projects: list[Retention]


class MeRequest(Message):
    """Whether the members of one's groups may see one's jobs and their results."""

    shows_jobs: bool


class Me(Message):
    """Who one is here: the name of one's jobs, one's groups and what these may see, and one's limits."""

    name: Line
    role: PersonRole
    groups: list[Line] = []
    shows_jobs: bool = False
    usage: Usage
    limits: Limits


class Owner(Me):
    """What administrators see of a researcher.

    ``own_limits`` is what they have said of this one alone; null: as for all. ``workers`` is how many workers
    are this one's own.
    """

    own_limits: Limits = Limits()
    workers: int = 0


class OwnerList(Message):
    """The researchers who have jobs, a token, a worker, a group or limits of their own, by name."""

    owners: list[Owner]


class Group(Message):
    """A group of researchers: workers may be shared in it, and jobs be shown."""

    name: Line
    members: list[Line]


class GroupList(Message):
    """All groups, by name."""

    groups: list[Group]


class GroupRequest(Message):
    """Who joins a group and who leaves it."""

    add: Annotated[list[OwnerName], Field(max_length=1000)] = []
    remove: Annotated[list[OwnerName], Field(max_length=1000)] = []
