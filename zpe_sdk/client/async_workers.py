"""The calls about workers: those that may run one's jobs, and one's own."""

from __future__ import annotations

from urllib.parse import quote

from zpe_sdk.client.connection import Connection
from zpe_sdk.wire import (
    AcceptRequest,
    Accepts,
    DrainRequest,
    EnrollTokenReply,
    EnrollTokenRequest,
    Machine,
    MachineList,
    Ok,
    RevokeReply,
    TargetList,
    TargetReply,
    TargetRequest,
)

_COMPUTE = "/calc/zpe/compute"


class AsyncWorkers:
    """The workers that may run one's jobs. One decides about one's own, an administrator about all."""

    def __init__(self, connection: Connection) -> None:
        self._call = connection.call

    async def all(self) -> TargetList:
        """List the workers that may run your jobs, your own first, and which is selected."""
        return await self._call("GET", f"{_COMPUTE}/targets", TargetList)

    async def machines(self) -> list[Machine]:
        """Return what the workers have that may run your jobs, those first that take work.

        Their version of pw.x, cores, memory, tags, and pseudopotential files with their headers.
        """
        return (await self._call("GET", "/calc/zpe/machines", MachineList)).machines

    async def select(self, target: str) -> TargetReply:
        """Choose where jobs run that do not say it: a worker's name or id, a group, ``mine`` or ``any``.

        Raises
        ------
        InputError
            ``unknown_target``.
        """
        return await self._call(
            "POST",
            f"{_COMPUTE}/targets/select",
            TargetReply,
            body=TargetRequest,
            fields={"target_id": target},
        )

    async def enroll_token(
        self, *, accepts: Accepts = "own", label: str | None = None, ttl_seconds: int | None = None
    ) -> EnrollTokenReply:
        """Mint a token with which a worker of your own can enroll, once. It is shown only now.

        Parameters
        ----------
        accepts
            Whose jobs the worker takes: yours alone (``"own"``), also those of your groups (``"group"``), or
            everybody's (``"all"``). Yours go first.
        label
            A note on its purpose.
        ttl_seconds
            How long it can be used.

        Raises
        ------
        AuthError
            ``user_workers_off``, ``accepts_too_wide``: the administrator does not allow it.
        """
        fields = {"accepts": accepts, "label": label, "ttl_seconds": ttl_seconds}
        return await self._call(
            "POST", f"{_COMPUTE}/enroll-tokens", EnrollTokenReply, body=EnrollTokenRequest, fields=fields
        )

    async def accept(self, server_id: str, accepts: Accepts) -> Ok:
        """Change whose jobs a worker takes from now on; what it has begun, it finishes.

        Raises
        ------
        AuthError
            ``user_workers_off``, ``accepts_too_wide``.
        InputError
            ``worker_not_found``: there is none, or it is not yours; ``no_owner``.
        """
        path = f"{_COMPUTE}/servers/{quote(server_id, safe='')}"
        return await self._call("PATCH", path, Ok, body=AcceptRequest, fields={"accepts": accepts})

    async def drain(self, server_id: str, drain: bool = True) -> Ok:
        """Give a worker no new work, or (False) work again."""
        path = f"{_COMPUTE}/servers/{quote(server_id, safe='')}/drain"
        return await self._call("POST", path, Ok, body=DrainRequest, fields={"drain": drain})

    async def revoke(self, server_id: str) -> RevokeReply:
        """Shut a worker out; its leases are released."""
        return await self._call("DELETE", f"{_COMPUTE}/servers/{quote(server_id, safe='')}", RevokeReply)
