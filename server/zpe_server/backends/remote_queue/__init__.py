"""RQ hands out the work: ``rq worker zpe-2`` on trusted hosts, for sites that run RQ already.

RQ is the dispatcher and nothing else: attempts, delays, timeouts and the dead-letter queue are ours, kept
by the same transitions as with every other backend. ``docs/remote-queue.md`` says how the two agree.

``offers`` is all that is said to RQ, ``backend`` sees to it in the control plane that RQ has what the state
of our jobs asks for, ``work`` is what an RQ worker runs, ``direct`` is its way to the transitions.
"""

from __future__ import annotations

from zpe_server.backends.remote_queue.backend import RemoteQueue

__all__ = ["RemoteQueue"]
