"""Settings of a worker: command-line options win over environment variables (prefix ``ZPE_``)."""

from __future__ import annotations

import socket
import time
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AliasChoices,
    Field,
    SecretStr,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from zpe_sdk.errors import ConfigError
from zpe_sdk.logging import Level
from zpe_sdk.wire import Accepts, Tag
from zpe_sdk.wire.messages import in_words


class WorkerSettings(BaseSettings):
    """All that a worker can be told.

    Attributes
    ----------
    control_api_url
        Base URL of the control plane, e.g. ``https://zpe.example.org``.
    worker_token
        A worker token to use as it is; without it, the worker enrolls once and keeps its own.
    enroll_token, enroll_file
        A one-time enroll token, or a file that holds one; ``-`` is standard input, at the first start.
    worker_name
        Name shown to researchers and administrators; default: the host's name.
    worker_mode
        ``qe`` runs pw.x; ``mock`` computes forces of springs, for teaching and tests.
    slots
        SCFs side by side; ``auto``: as many as there are cores.
    accepts
        Whose jobs this machine runs at most, whatever its owner lets it: ``own`` (its owner's), ``group``
        (also those of the owner's groups) or ``all``.
    tags
        Labels of this machine, separated by commas, for jobs that ask for them: ``bigmem,environ-2``.
    executor
        Where SCFs run, if not on this machine: ``dask://host:port`` of a Dask scheduler.
    insecure
        Send the token over plain HTTP to another machine.
    ca_bundle
        PEM file of the certificate authorities to trust, for a private one.
    pseudo_dir
        Folder of the pseudopotential files; ``ESPRESSO_PSEUDO`` serves too.
    allow_input_pseudo_dir
        Let an input's own ``pseudo_dir`` decide where pseudopotentials are read from.
    pw_path, pw_command
        The pw.x program, or a whole command that starts it; a command of one word is the program.
    use_mpi, mpi_cmd, np_core
        Whether one SCF runs on several MPI ranks (default: if its cell is large), the launcher, and
        the number of ranks.
    pools
        Pools of k-points that the ranks of an SCF share (``-nk``); default: as a model of the time has it.
    memory_gb
        Memory in GB that the SCFs may take together; default: the machine's, or its container's.
    environ_path
        ``environ.in`` or the folder that holds it, for jobs with ``use_environ``.
    work_dir
        Folder of this worker alone: identity, results to be delivered, scratch files.
    max_seconds, ends_at
        Wall time in seconds that this worker may take in a batch queue, from its start on; or the Unix time
        (in s) of its end, which counts how long the start took, too. Of both, what comes first.
    max_scf_seconds
        The longest that an SCF may take on this machine; other workers get one that takes longer.
    drain
        End when there is no work left.
    mock_scf_seconds, mock_log
        Mock only: seconds that one SCF takes; file that gets a line for each.
    """

    model_config = SettingsConfigDict(env_prefix="ZPE_", env_ignore_empty=True, hide_input_in_errors=True)

    control_api_url: str = ""
    worker_token: SecretStr | None = None
    enroll_token: SecretStr | None = None
    enroll_file: Path | None = None
    worker_name: str = Field(default_factory=socket.gethostname)
    worker_mode: Literal["qe", "mock"] = "qe"
    slots: Literal["auto"] | Annotated[int, Field(ge=1, le=4096)] = "auto"
    accepts: Accepts = "all"
    tags: Annotated[list[Tag], NoDecode] = []
    executor: str | None = None
    insecure: bool = False
    ca_bundle: Path | None = None

    pseudo_dir: Path | None = Field(
        default=None,
        validation_alias=AliasChoices("pseudo_dir", "ZPE_PSEUDO_DIR", "ESPRESSO_PSEUDO"),
    )
    allow_input_pseudo_dir: bool = False
    pw_path: str = "pw.x"
    pw_command: str | None = None
    use_mpi: bool | None = None
    mpi_cmd: str = "mpirun"
    np_core: Annotated[int, Field(ge=1)] | None = None
    pools: Annotated[int, Field(ge=1)] | None = None
    memory_gb: Annotated[float, Field(gt=0)] | None = None
    environ_path: Path | None = None
    work_dir: Path = Field(default_factory=lambda: Path.home() / ".zpe" / "worker")

    max_seconds: Annotated[float, Field(gt=0)] | None = None
    ends_at: Annotated[float, Field(gt=0)] | None = None
    max_scf_seconds: Annotated[float, Field(gt=0)] | None = None
    drain: bool = False
    mock_scf_seconds: Annotated[float, Field(ge=0)] = 0.0
    mock_log: Path | None = None

    log_level: Level = "INFO"
    log_json: bool | None = None

    @field_validator("slots", mode="wrap")
    @classmethod
    def _auto_or_a_number(cls, slots: object, validate: ValidatorFunctionWrapHandler) -> object:
        try:
            return validate(slots)
        except ValidationError:  # which would name the first of the two alone
            message = "Input should be 'auto' or a whole number from 1 to 4096"
            raise PydanticCustomError("slots", message) from None

    @field_validator("tags", mode="before")
    @classmethod
    def _by_commas(cls, tags: object) -> object:
        return [tag.strip() for tag in tags.split(",") if tag.strip()] if isinstance(tags, str) else tags

    def seconds_left(self) -> float | None:
        """Return the wall time (s) that is left for a worker that starts now; None: there is no end."""
        left = self.max_seconds if self.ends_at is None else self.ends_at - time.time()
        return left if left is None or self.max_seconds is None else min(left, self.max_seconds)

    @model_validator(mode="after")
    def _one_word_is_a_program(self) -> Self:
        # It says nothing of MPI: it is started as any program is, on as many ranks as an SCF gets.
        if self.pw_command and len(self.pw_command.split()) == 1:
            if "pw_path" not in self.model_fields_set:
                self.pw_path = self.pw_command.strip()
            self.pw_command = None
        return self


def settings_from(options: dict[str, Any]) -> WorkerSettings:
    """Return a worker's settings: options, then the environment.

    Raises
    ------
    ConfigError
        ``bad_setting``.
    """
    try:
        return WorkerSettings(**options)
    except ValidationError as error:
        problem = error.errors()[0]
        name = f"ZPE_{str(problem['loc'][0]).upper()}"
        raise ConfigError(f"{name}: {in_words(problem)}", code="bad_setting", field=name) from None
