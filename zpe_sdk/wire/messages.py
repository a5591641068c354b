"""What all messages have in common, and the small types that they are made of."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic_core import ErrorDetails

from zpe_sdk.errors import Side
from zpe_sdk.plain import plain, plain_lines
from zpe_sdk.task import Task

# As deep as an object may be nested; libraries that write JSON give up somewhere above 200.
_DEEPEST = 50


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    if _is_deeper(value, _DEEPEST):
        raise ValueError(f"is nested more than {_DEEPEST} deep")
    # Any JSON object is welcome, but what JSON or UTF-8 cannot hold could not be answered with later.
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except ValueError:
        raise ValueError("holds a number or a character that JSON cannot") from None
    return value


def _is_deeper(value: Any, than: int) -> bool:
    if not isinstance(value, (dict, list)):
        return False
    inside = value.values() if isinstance(value, dict) else value
    return than == 0 or any(_is_deeper(item, than - 1) for item in inside)


def _number(value: object) -> object:
    # Pydantic would take true for 1 and "300" for 300; numbers of NumPy are welcome.
    if isinstance(value, bool | str | bytes):
        raise ValueError("must be a number")  # noqa: TRY004 - Pydantic reports no TypeError
    return value


Number = BeforeValidator(_number)
JsonObject = Annotated[dict[str, Any], AfterValidator(_plain)]
# Of a long list, only the first fault is told: to tell of all takes longer than to read them.
Many = Field(fail_fast=True)
# Texts for people, whoever wrote them: of one line, and of several.
Line = Annotated[str, Field(max_length=20_000), AfterValidator(plain)]
Lines = Annotated[str, AfterValidator(plain_lines)]
# Ids become parts of key names in the store, of file names of a worker and of addresses: nothing else may get
# there, whoever sends it.
ID = r"[A-Za-z0-9_-]{1,64}"
Id = Annotated[str, Field(pattern=f"^{ID}$")]
_LAST = 10_000_000
TaskIndex = Annotated[int, Field(ge=0, le=_LAST)]
AtomIndex = Annotated[int, Field(ge=0, le=_LAST)]
LONGEST_DISPLACEMENT = 1.0  # Å; far more than any job may ask for


def _leased(task: Task) -> Task:
    named = [task.index, *(index for index in (task.atom, task.copy_of) if index is not None)]
    if not all(0 <= index <= _LAST for index in named):
        raise ValueError("counts its SCF or its atom from below 0, or too high")
    if (task.atom is None) != (task.displacement is None):
        raise ValueError("has an atom without a displacement, or the reverse")
    if not all(abs(x) <= LONGEST_DISPLACEMENT for x in task.displacement or ()):  # NaN is no length either
        raise ValueError(f"displaces an atom by more than {LONGEST_DISPLACEMENT:g} Å")
    return task


LeasedTask = Annotated[Task, AfterValidator(_leased)]
# What a header can carry; see zpe_sdk.http.is_token.
SecretToken = Annotated[str, Field(repr=False, pattern=r"^[\x21-\x7e]{1,500}$")]
RequestId = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,100}$")]
# Unphysical forces would overflow when summed.
Force = Annotated[float, Field(ge=-1e9, le=1e9)]
# Bohr magnetons per cell, far above any cell that is computed.
Magnetization = Annotated[float, Field(ge=-1e7, le=1e7)]
_TAG = r"^[\w.:@+-]+$"
Tag = Annotated[str, Field(min_length=1, max_length=50, pattern=_TAG)]
_OWNER = r"^[\w.@+-]+$"
# The name that a researcher's jobs and workers carry, or that of a group of researchers.
OwnerName = Annotated[str, Field(min_length=1, max_length=100, pattern=_OWNER)]
_PATTERNS = {
    f"^{ID}$": "is no id: those have up to 64 letters, digits, hyphens and underscores",
    _TAG: "may hold letters, digits and . : @ + - _ only",
    _OWNER: "may hold letters, digits and . @ + - _ only",
}


def in_words(problem: ErrorDetails) -> str:
    """Return what a field has wrong, for people: no regular expression."""
    if problem["type"] == "string_pattern_mismatch":
        return _PATTERNS.get(problem["ctx"]["pattern"], "holds what may not be there")
    return problem["msg"].removeprefix("Value error, ")


class Message(BaseModel):
    """Base of all messages."""

    # NaN and infinity are no JSON and no physics: refused at the door, in both directions.
    # A program meets few of all messages: each is built when it is first used.
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, ser_json_inf_nan="null", defer_build=True)


class ErrorInfo(Message):
    """A failure: whose it is, its stable name, and what to tell the user."""

    side: Side
    code: Line
    message: Lines
    request_id: Line | None = None
    field: Line | None = None
    traceback: Lines | None = None
    worker: Line | None = None


class ErrorReply(Message):
    """The body of every reply with a status of 400 or more."""

    detail: Lines
    error: ErrorInfo


class TaskRun(Message):
    """Who ran one SCF of a job, and how long it took."""

    task: int
    worker: Line
    scf_seconds: float
    scf_iterations: int | None = None
    reused: bool = False


class Fingerprint(Message):
    """All that decides the forces besides the positions; forces mix in a Hessian only if it is equal.

    ``pseudopotentials`` maps file name to SHA-256 of its bytes, ``physics`` is the SHA-256 of the
    normalised input without positions and run control.
    """

    engine: Line
    engine_version: Line
    pseudopotentials: dict[Line, str] = {}
    environ: str | None = None
    physics: str
