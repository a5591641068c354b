"""The exception tree: one class per side of the system that can be at fault.

Every failure carries ``side`` (who can mend it) and ``code`` (a stable, snake_case name that programs
may match on). The same pair travels over HTTP, so an error raised by the control plane or by a worker
reaches the notebook as the class below that it was.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from zpe_sdk.plain import plain_lines

Side = Literal["compute", "store", "config", "auth", "input"]


class ZPEError(Exception):
    """Base of all errors of this package.

    Parameters
    ----------
    message
        What is wrong, in words a user can act on.
    code
        Stable name of the failure, e.g. ``"scf_not_converged"``.
    field
        The input field, card or setting at fault, where there is one.
    request_id
        Identifies the HTTP request in the logs of both planes, where there was one.
    """

    side: ClassVar[Side]

    def __init__(
        self, message: str, *, code: str, field: str | None = None, request_id: str | None = None
    ) -> None:
        message = plain_lines(message)  # a part of it may be what others have written
        super().__init__(message)
        self.message = message
        self.code = code
        self.field = field
        self.request_id = request_id

    def __str__(self) -> str:
        return f"{self.message} [{self.side}/{self.code}]"

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions pickle through their positional arguments only; ours are keywords. Notes are state.
        return (_rebuild, (type(self), self.message, self.code, self.field, self.request_id), self.__dict__)


class InputError(ZPEError):
    """What was sent cannot be carried out as it stands: a QE input, an index, a request."""

    side: ClassVar[Side] = "input"


class AuthError(ZPEError):
    """No valid token, or a token without the right to do this."""

    side: ClassVar[Side] = "auth"


class ConfigError(ZPEError):
    """A machine is not set up for the work: a missing ``pw.x``, a wrong URL, an unset setting."""

    side: ClassVar[Side] = "config"


class ComputeError(ZPEError):
    """The calculation itself failed: ``pw.x`` crashed, an SCF did not converge, a worker was lost."""

    side: ClassVar[Side] = "compute"


class StoreError(ZPEError):
    """Redis or the result store is unreachable, full or refusing."""

    side: ClassVar[Side] = "store"


BY_SIDE: dict[Side, type[ZPEError]] = {
    cls.side: cls for cls in (InputError, AuthError, ConfigError, ComputeError, StoreError)
}


def _rebuild(
    cls: type[ZPEError], message: str, code: str, field: str | None, request_id: str | None
) -> ZPEError:
    return cls(message, code=code, field=field, request_id=request_id)
