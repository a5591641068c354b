"""What decides the forces besides the positions: program, pseudopotentials, Environ, input."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

from zpe_sdk.errors import ConfigError
from zpe_sdk.espresso import physics
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.wire import Fingerprint


def fingerprint(
    pw_input: PwInput,
    pseudo_dir: Path,
    *,
    version: str,
    environ: str | None = None,
) -> Fingerprint:
    """Return the fingerprint of an SCF with this input on this machine.

    Parameters
    ----------
    pw_input
        The job's input.
    pseudo_dir
        Folder of the pseudopotential files.
    version
        Version of pw.x, as the run itself printed it.
    environ
        Environ and its input, if it takes part (see :func:`environ_mark`): both change the forces.

    Raises
    ------
    ConfigError
        ``pseudopotential_missing``, naming file and folder.
    """
    names = {species.pseudopotential for species in pw_input.species}
    return Fingerprint(
        engine="espresso",
        engine_version=version,
        pseudopotentials={name: sha256_of(find_pseudopotential(name, pseudo_dir)) for name in sorted(names)},
        environ=environ,
        physics=physics.physics_hash(pw_input),
    )


def environ_mark(version: str, sha256: str) -> str:
    """Return how a fingerprint names Environ and its input.

    Parameters
    ----------
    version
        What the plug-in said of its version.
    sha256
        Of a request's input: :meth:`zpe_sdk.espresso.environ.EnvironInput.physics_hash`, which the control
        plane knows too. Of a worker's own file: its bytes.
    """
    return f"{version} environ.in sha256:{sha256}"


def find_pseudopotential(name: str, pseudo_dir: Path) -> Path:
    """Return the path of a pseudopotential file in ``pseudo_dir``.

    Raises
    ------
    ConfigError
        ``pseudopotential_missing``, naming file and folder.
    """
    path = pseudo_dir / name
    if Path(name).name != name or not path.is_file():
        raise ConfigError(
            f"the pseudopotential {name} is not in {pseudo_dir} (ZPE_PSEUDO_DIR)",
            code="pseudopotential_missing",
            field="ATOMIC_SPECIES",
        )
    return path


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's bytes; read again only if its time or size changed."""
    stat = path.stat()
    return _sha256(path, stat.st_mtime_ns, stat.st_size)


def files_sha256(files: Iterable[Path]) -> str:
    """Return one SHA-256 over the names and bytes of files, in the order of their names."""
    lines = sorted(f"{path.name} {sha256_of(path)}" for path in files)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


@lru_cache(maxsize=16_384)
def _sha256(path: Path, mtime_ns: int, size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
