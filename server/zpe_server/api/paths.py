"""Ids in paths. One that cannot exist is answered like one that does not."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Path
from pydantic import AfterValidator

from zpe_sdk.errors import InputError
from zpe_sdk.wire.messages import ID


def _check(kind: str, code: str) -> AfterValidator:
    def known(value: str) -> str:
        # An id becomes part of a key's name: nothing else may get there.
        if not re.fullmatch(ID, value):
            raise InputError(f"there is no such {kind}", code=code)
        return value

    return AfterValidator(known)


JobId = Annotated[str, _check("job", "job_not_found")]
WorkerId = Annotated[str, _check("worker", "worker_not_found")]
LeaseId = Annotated[str, _check("lease", "lease_not_found")]
OwnerPath = Annotated[str, Path(min_length=1, max_length=100, pattern=r"^[\w.@+-]+$")]
TokenId = Annotated[str, _check("token", "token_not_found")]
