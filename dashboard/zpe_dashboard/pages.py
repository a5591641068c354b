"""The pages there are: for whom, and what they are called."""

from __future__ import annotations

from zpe_sdk.wire.names import PersonRole

# The first page is where one begins.
_FOR_ADMINISTRATORS = (
    *("overview", "jobs", "job", "workers", "leases", "dlq"),
    *("researchers", "tokens", "audit"),
)
PAGES: dict[PersonRole, tuple[str, ...]] = {
    "admin": (*_FOR_ADMINISTRATORS, "new"),
    "observer": _FOR_ADMINISTRATORS,
    "researcher": ("jobs", "job", "new"),
}
_TITLES = {
    "overview": "Overview",
    "jobs": "Jobs",
    "new": "New job",
    "workers": "Workers",
    "leases": "Leases",
    "dlq": "Dead letters",
    "researchers": "Researchers",
    "tokens": "Tokens",
    "audit": "Audit trail",
}


def listed(role: PersonRole) -> dict[str, str]:
    """Return the titles of the pages in the list at the side, in its order; one job's page is not in it."""
    return {page: title for page, title in _TITLES.items() if page in PAGES[role]}
