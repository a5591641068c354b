"""A project in one file: inputs, results and where they come from, readable without a control plane."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from zpe_sdk.errors import InputError
from zpe_sdk.version import __version__
from zpe_sdk.wire import JobDetail

if TYPE_CHECKING:
    from pandas import DataFrame

    from zpe_sdk.result.bare import BareResult
    from zpe_sdk.result.kinds import AnyResult

_INDEX = "project.json"
_FORMAT = 1


@dataclass(frozen=True)
class Entry:
    """A job of a project: its name, what was asked for and what happened, and its result if it has one."""

    name: str
    detail: JobDetail
    result: AnyResult | BareResult | None


@dataclass(frozen=True)
class Archive:
    """What :meth:`zpe_sdk.client.project.Project.export` wrote.

    Attributes
    ----------
    name
        Of the project.
    url
        The control plane that it is from.
    written_at
        When it was written, in ISO 8601.
    entries
        Its jobs.
    """

    name: str
    url: str
    written_at: str
    entries: Sequence[Entry]

    @property
    def results(self) -> dict[str, AnyResult | BareResult]:
        """The results by name, of those jobs that have one."""
        return {entry.name: entry.result for entry in self.entries if entry.result is not None}

    @property
    def inputs(self) -> dict[str, str]:
        """The pw.x inputs by name, e.g. for ``client.project("again").submit_many(archive.inputs)``."""
        return {entry.name: entry.detail.content for entry in self.entries}

    def table(self, *, temperature: float | None = None) -> DataFrame:
        """Return the results as a pandas table; see :func:`zpe_sdk.as_table`."""
        from zpe_sdk.result.tables import as_table

        return as_table(self.results, temperature=temperature)


def write_archive(file: Path, name: str, url: str, entries: Sequence[Entry]) -> Path:
    """Write a project into a zip file.

    Each job has a folder with ``input.in`` (and ``environ.in``), ``job.json`` (request, SCFs, workers,
    history, fingerprint) and, if it has finished, ``result.json``, ``summary.txt`` and ``freqs.csv``.

    Raises
    ------
    InputError
        ``file_unwritable``.
    """
    folders = _folders([entry.name for entry in entries])
    index = {
        "format": _FORMAT,
        "project": name,
        "url": url,
        "written_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "zpe_version": __version__,
        "jobs": [
            {"name": entry.name, "folder": folder} for entry, folder in zip(entries, folders, strict=True)
        ],
    }
    new = file.with_name(f".{file.name}.new")
    try:
        with zipfile.ZipFile(new, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(_INDEX, json.dumps(index, indent=2, ensure_ascii=False))
            for entry, folder in zip(entries, folders, strict=True):
                for inside, text in _files(entry).items():
                    archive.writestr(f"{folder}/{inside}", text)
        new.replace(file)  # whole, or not at all
    except OSError as error:
        new.unlink(missing_ok=True)
        raise InputError(
            f"{file} cannot be written: {error.strerror}", code="file_unwritable", field="file"
        ) from error
    return file


def read_archive(file: Path | str) -> Archive:
    """Read a project that was exported; nothing of it is sent anywhere.

    Raises
    ------
    InputError
        ``file_missing``, ``file_unreadable``; ``bad_archive``: it is something else.
    """
    path = Path(file).expanduser()
    try:
        with zipfile.ZipFile(path) as archive:
            index = json.loads(archive.read(_INDEX))
            if index["format"] > _FORMAT:
                raise InputError(
                    f"{path} was written by zpe {index['zpe_version']}: update zpe to read it",
                    code="bad_archive",
                    field="file",
                )
            entries = [_entry(archive, job["name"], job["folder"]) for job in index["jobs"]]
            return Archive(index["project"], index["url"], index["written_at"], entries)
    except FileNotFoundError:
        raise InputError(f"there is no file {path}", code="file_missing", field="file") from None
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror}", code="file_unreadable", field="file"
        ) from error
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, ValidationError) as error:
        raise InputError(
            f"{path} is no archive of a project: {error}", code="bad_archive", field="file"
        ) from error


def _files(entry: Entry) -> dict[str, str]:
    files = {"input.in": entry.detail.content, "job.json": entry.detail.model_dump_json(indent=2)}
    if entry.detail.environ is not None:
        files["environ.in"] = entry.detail.environ
    if entry.result is not None:
        files["result.json"] = entry.result.to_json()
        files["summary.txt"] = entry.result.summary()
        files["freqs.csv"] = entry.result.to_csv()
    return files


def _entry(archive: zipfile.ZipFile, name: str, folder: str) -> Entry:
    detail = JobDetail.model_validate_json(archive.read(f"{folder}/job.json"))
    if f"{folder}/result.json" not in archive.namelist():
        return Entry(name, detail, None)
    from zpe_sdk.result.kinds import read_result

    return Entry(name, detail, read_result(json.loads(archive.read(f"{folder}/result.json"))))


def _folders(names: Sequence[str]) -> list[str]:
    """Return a folder for each name: as it is, but for what file systems do not like or would mix up."""
    folders: list[str] = []
    taken = set[str]()
    for name in names:
        plain = re.sub(r"[^\w.+-]+", "_", name).strip("._") or "job"
        folder, number = plain, 2
        while folder.lower() in taken:
            folder, number = f"{plain}-{number}", number + 1
        taken.add(folder.lower())
        folders.append(f"jobs/{folder}")
    return folders
