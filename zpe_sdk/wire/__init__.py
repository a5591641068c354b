"""Every request and reply of the HTTP API, defined once and used by client, worker and server.

Lengths are in Å, energies in eV, forces in eV/Å, frequencies in cm⁻¹, temperatures in K and durations
in seconds, unless a field's name says otherwise. Times are ISO 8601 in UTC. Unknown fields are ignored,
so that an older or newer peer goes on working.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from zpe_sdk.task import Task, Vector

if TYPE_CHECKING:
    from zpe_sdk.wire.admin import (
        ApiToken,
        ApiTokenList,
        ApiTokenReply,
        ApiTokenRequest,
        AuditEntry,
        AuditTrail,
        DeadJob,
        DeadJobList,
        DeadJobsReply,
        DeadJobsRequest,
        DeadReason,
        DrainRequest,
        DroppedReply,
        EnrollToken,
        EnrollTokenList,
        EnrollTokenReply,
        EnrollTokenRequest,
        Flags,
        KeptScfList,
        KeptScfs,
        LeaseList,
        LeaseStatus,
        Overview,
        RevokeReply,
        WorkerList,
        WorkerStatus,
    )
    from zpe_sdk.wire.compute import (
        NO_FORCES,
        Capabilities,
        FailedReply,
        FailedRequest,
        HeartbeatReply,
        HeartbeatRequest,
        JobPayload,
        LeaseReply,
        LeaseRequest,
        Ok,
        RegisterReply,
        RegisterRequest,
        ReleaseRequest,
        TaskReport,
        TaskReportReply,
        TaskReportRequest,
        WholeResultReply,
        WholeResultRequest,
        WorkerTokenReply,
    )
    from zpe_sdk.wire.jobs import (
        Atom,
        HistoryEvent,
        JobDetail,
        JobList,
        JobReply,
        JobRequest,
        JobStatus,
        Lattice,
        ParseReply,
        ParseRequest,
        PartialReply,
        Point,
        Progress,
        Requirements,
        ResultReply,
        RunningScf,
        Structure,
        TaskStatus,
    )
    from zpe_sdk.wire.messages import (
        ErrorInfo,
        ErrorReply,
        Fingerprint,
        Id,
        JsonObject,
        Message,
        Tag,
        TaskIndex,
        TaskRun,
    )
    from zpe_sdk.wire.names import OVER, EngineName, Expect, JobKind, JobOrder, JobState
    from zpe_sdk.wire.relaxation import (
        IonicStep,
        RelaxationEnd,
        RelaxationRecord,
        RelaxationState,
        RelaxOptions,
        StepReply,
        StepRequest,
    )
    from zpe_sdk.wire.results import BareDocument, SymmetryOperation, ZPEResultDocument
    from zpe_sdk.wire.structures import EnergyDocument, RelaxationDocument, StructureDocument

__all__ = [
    "NO_FORCES",
    "OVER",
    "ApiToken",
    "ApiTokenList",
    "ApiTokenReply",
    "ApiTokenRequest",
    "Atom",
    "AuditEntry",
    "AuditTrail",
    "BareDocument",
    "Capabilities",
    "DeadJob",
    "DeadJobList",
    "DeadJobsReply",
    "DeadJobsRequest",
    "DeadReason",
    "DrainRequest",
    "DroppedReply",
    "EnergyDocument",
    "EngineName",
    "EnrollToken",
    "EnrollTokenList",
    "EnrollTokenReply",
    "EnrollTokenRequest",
    "ErrorInfo",
    "ErrorReply",
    "Expect",
    "FailedReply",
    "FailedRequest",
    "Fingerprint",
    "Flags",
    "HeartbeatReply",
    "HeartbeatRequest",
    "HistoryEvent",
    "Id",
    "IonicStep",
    "JobDetail",
    "JobKind",
    "JobList",
    "JobOrder",
    "JobPayload",
    "JobReply",
    "JobRequest",
    "JobState",
    "JobStatus",
    "JsonObject",
    "KeptScfList",
    "KeptScfs",
    "Lattice",
    "LeaseList",
    "LeaseReply",
    "LeaseRequest",
    "LeaseStatus",
    "Message",
    "Ok",
    "Overview",
    "ParseReply",
    "ParseRequest",
    "PartialReply",
    "Point",
    "Progress",
    "RegisterReply",
    "RegisterRequest",
    "RelaxOptions",
    "RelaxationDocument",
    "RelaxationEnd",
    "RelaxationRecord",
    "RelaxationState",
    "ReleaseRequest",
    "Requirements",
    "ResultReply",
    "RevokeReply",
    "RunningScf",
    "StepReply",
    "StepRequest",
    "Structure",
    "StructureDocument",
    "SymmetryOperation",
    "Tag",
    "Task",
    "TaskIndex",
    "TaskReport",
    "TaskReportReply",
    "TaskReportRequest",
    "TaskRun",
    "TaskStatus",
    "Vector",
    "WholeResultReply",
    "WholeResultRequest",
    "WorkerList",
    "WorkerStatus",
    "WorkerTokenReply",
    "ZPEResultDocument",
]

# In the order in which they need one another: a name is looked for first where it costs least to look.
_MODULES = ("names", "messages", "relaxation", "jobs", "results", "structures", "compute", "admin")

if not TYPE_CHECKING:  # with it, a type checker would accept any name

    def __getattr__(name: str) -> Any:
        # To build the models of all messages takes a good part of a second: only those that are asked for.
        if name in __all__:
            for module in _MODULES:
                found = import_module(f"{__name__}.{module}")
                if hasattr(found, name):
                    return globals().setdefault(name, getattr(found, name))
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
