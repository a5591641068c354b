"""The calls about workers, blocking."""

from __future__ import annotations

from zpe_sdk.client.async_workers import AsyncWorkers
from zpe_sdk.client.blocking import run
from zpe_sdk.wire import Accepts, EnrollTokenReply, Machine, Ok, RevokeReply, TargetList, TargetReply


class Workers:
    """The workers that may run one's jobs: the calls of :class:`AsyncWorkers`, blocking."""

    def __init__(self, workers: AsyncWorkers) -> None:
        self._async = workers

    # Written by scripts/write_blocking.py from async_workers.py: do not edit.

    def all(self) -> TargetList:
        """List the workers that may run your jobs, your own first, and which is selected."""
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.all())

    def machines(self) -> list[Machine]:
        """Return what the workers have that may run your jobs, those first that take work.

        Their version of pw.x, cores, memory, tags, and pseudopotential files with their headers.
        """
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.machines())

    def select(self, target: str) -> TargetReply:
        """Choose where jobs run that do not say it: a worker's name or id, a group, ``mine`` or ``any``.

        Raises
        ------
        InputError
            ``unknown_target``.
        """
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.select(target))

    def enroll_token(
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
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.enroll_token(accepts=accepts, label=label, ttl_seconds=ttl_seconds))

    def accept(self, server_id: str, accepts: Accepts) -> Ok:
        """Change whose jobs a worker takes from now on; what it has begun, it finishes.

        Raises
        ------
        AuthError
            ``user_workers_off``, ``accepts_too_wide``.
        InputError
            ``worker_not_found``: there is none, or it is not yours; ``no_owner``.
        """
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.accept(server_id, accepts))

    def drain(self, server_id: str, drain: bool = True) -> Ok:
        """Give a worker no new work, or (False) work again."""
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.drain(server_id, drain))

    def revoke(self, server_id: str) -> RevokeReply:
        """Shut a worker out; its leases are released."""
        __tracebackhide__ = True  # IPython leaves such frames out
        return run(self._async.revoke(server_id))

    # End of what is written.
