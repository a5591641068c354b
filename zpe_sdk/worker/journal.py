"""Which tasks run under which lease, kept on disk for the case that this process does not live to tell."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import structlog
from pydantic import TypeAdapter

from zpe_sdk.worker.files import remove_half_written, write_durably
from zpe_sdk.worker.held import Entry

_ENTRY = TypeAdapter(Entry)

log = structlog.get_logger(__name__)


class Journal:
    """Entries of the leases that a worker has.

    Parameters
    ----------
    folder
        Where they are kept, a file per lease; made if it is missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(mode=0o700, exist_ok=True)

    def note(self, entry: Entry) -> None:
        """Write an entry, in place of an earlier one about the same lease."""
        try:
            write_durably(self._path(entry.lease_id), _ENTRY.dump_json(entry).decode())
        except OSError as error:  # without the entry, the lease expires in its own time
            log.warning("a journal entry could not be written", reason=str(error))

    def strike(self, lease_id: str) -> None:
        """Remove the entry of a lease, if there is one."""
        try:
            self._path(lease_id).unlink(missing_ok=True)
        except OSError as error:  # the next start hands the lease back once more, which does no harm
            log.warning("a journal entry could not be removed", reason=str(error))

    def entries(self) -> Iterator[Entry]:
        """Yield what an earlier process has left; what cannot be read is removed."""
        remove_half_written(self._folder)
        for path in sorted(self._folder.iterdir()):
            try:
                entry = _ENTRY.validate_json(path.read_bytes())
                if path != self._path(entry.lease_id):
                    raise ValueError(path.name)
            except (OSError, ValueError):
                log.warning("a journal entry cannot be read; its lease will expire", file=path.name)
                path.unlink(missing_ok=True)
            else:
                yield entry

    def _path(self, lease_id: str) -> Path:
        return self._folder / f"{lease_id}.json"
