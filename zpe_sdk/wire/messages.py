"""What all messages have in common, and the small types that they are made of."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from zpe_sdk.errors import Side

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
# Ids become parts of key names in the store: nothing else may get there.
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
TaskIndex = Annotated[int, Field(ge=0, le=10_000_000)]
# Unphysical forces would overflow when summed.
Force = Annotated[float, Field(ge=-1e9, le=1e9)]
# Bohr magnetons per cell, far above any cell that is computed.
Magnetization = Annotated[float, Field(ge=-1e7, le=1e7)]
# The name that a researcher's jobs and workers carry, or that of a group of researchers.
OwnerName = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[\w.@+-]+$")]
Tag = Annotated[str, Field(min_length=1, max_length=50, pattern=r"^[\w.:@+-]+$")]


class Message(BaseModel):
    """Base of all messages."""

    # NaN and infinity are no JSON and no physics: refused at the door, in both directions.
    model_config = ConfigDict(extra="ignore", allow_inf_nan=False, ser_json_inf_nan="null")


class ErrorInfo(Message):
    """A failure: whose it is, its stable name, and what to tell the user."""

    side: Side
    code: str
    message: str
    request_id: str | None = None
    field: str | None = None
    traceback: str | None = None
    worker: str | None = None


class ErrorReply(Message):
    """The body of every reply with a status of 400 or more."""

    detail: str
    error: ErrorInfo


class TaskRun(Message):
    """Who ran one SCF of a job, and how long it took."""

    task: int
    worker: str
    scf_seconds: float
    scf_iterations: int | None = None
    reused: bool = False


class Fingerprint(Message):
    """All that decides the forces besides the positions; forces mix in a Hessian only if it is equal.

    ``pseudopotentials`` maps file name to SHA-256 of its bytes, ``physics`` is the SHA-256 of the
    normalised input without positions and run control.
    """

    engine: str
    engine_version: str
    pseudopotentials: dict[str, str] = {}
    environ: str | None = None
    physics: str
