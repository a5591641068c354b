"""For administrators: tokens, workers, leases, the dead-letter queue, switches, the audit trail."""

from __future__ import annotations

import typer

from zpe_sdk.cli import fleet, people, service, workers

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help=__doc__,
)
# In the order in which `zpe admin --help` lists them.
for command in (
    *(fleet.enroll_token, fleet.enroll_tokens, people.token, people.tokens),
    *(fleet.revoke, fleet.scfs, fleet.workers, workers.drain, workers.accept),
    *(people.groups, people.group, people.owners, people.limits, people.retention),
    *(fleet.leases, fleet.release_lease),
    *(service.dlq, service.requeue, service.discard),
    *(service.flags, service.overview, service.audit),
):
    app.command()(command)
