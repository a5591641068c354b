"""Whether this machine can work for a control plane: the checks of ``zpe doctor``."""

from __future__ import annotations

import shlex
import shutil
import tempfile
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from importlib.util import find_spec
from pathlib import Path
from threading import Event

import httpx

from zpe_sdk.checks import Check, fail, failed, ok, warn
from zpe_sdk.errors import AuthError, ConfigError, ZPEError
from zpe_sdk.espresso.input import PwInput
from zpe_sdk.espresso.libraries import REFERENCE, blas_of, links_hdf5
from zpe_sdk.espresso.run import INPUT, pw_command, pw_version
from zpe_sdk.http import base_url, raise_for_error
from zpe_sdk.transport import Transport, options, unreachable
from zpe_sdk.wire import Capabilities, HeartbeatRequest
from zpe_sdk.worker.control import ControlPlane
from zpe_sdk.worker.engines import make_engine
from zpe_sdk.worker.engines.cores import available_cores
from zpe_sdk.worker.engines.espresso import EspressoEngine
from zpe_sdk.worker.files import own_folder
from zpe_sdk.worker.identity import Credentials
from zpe_sdk.worker.settings import WorkerSettings

_REPLY_SECONDS = 10.0
# A reply's Date has whole seconds; what is beyond this is no delay of the network.
_CLOCK_SECONDS = 30.0
# A few SCFs of a large cell, with their wave functions.
_FREE_BYTES = 5 * 10**9
_CELL = """&SYSTEM
  ibrav = 1, A = {length}, nat = 1, ntyp = 1, ecutwfc = 50.0, ecutrho = 400.0
/
ATOMIC_SPECIES
H 1.008 H.UPF
ATOMIC_POSITIONS angstrom
H 0.0 0.0 0.0
K_POINTS gamma
"""


def worker_checks(settings: WorkerSettings) -> Iterator[Check]:
    """Look at all that a worker with these settings needs; no token is used up.

    The work folder is made if it is missing; nothing else is changed.
    """
    settings = settings.model_copy(update={"work_dir": settings.work_dir.expanduser().absolute()})
    yield from machine_checks(settings)
    yield _work_dir(settings.work_dir)
    yield from _control_plane(settings)


def machine_checks(settings: WorkerSettings) -> Iterator[Check]:
    """Look at pw.x, pseudopotentials, MPI and cores, as the engine of these settings sees them.

    With an executor: at what it says of the machines there.
    """
    if settings.executor:
        yield _executor(settings)
        return
    if settings.worker_mode == "mock":
        yield warn("engine", "mock: springs, no pw.x", "unset ZPE_WORKER_MODE for real numbers")
        return
    with tempfile.TemporaryDirectory(prefix="zpe-") as scratch:
        # Not the worker's own folder: an engine clears it when it starts.
        engine = EspressoEngine(settings.model_copy(update={"work_dir": Path(scratch)}))
        yield _pw(settings)
        yield from _libraries(settings)
        yield _pseudopotentials(settings)
        yield _mpi(settings)
        yield from _environ(settings)
        try:
            capabilities = engine.capabilities()
        except ConfigError:  # said above
            return
        yield _cores(settings, engine, capabilities)


def _executor(settings: WorkerSettings) -> Check:
    name = "executor"
    try:
        there = make_engine(settings).capabilities()
    except ConfigError as error:
        return failed(name, error, "see docs/scaling-out.md")
    files = "" if there.pseudopotentials is None else f", {len(there.pseudopotentials)} pseudopotential files"
    engine = f"{there.engine} {there.engine_version}"
    return ok(name, f"{settings.executor}: {engine}, {there.slots} SCF(s) side by side{files}")


def _pw(settings: WorkerSettings) -> Check:
    try:
        command = pw_command(settings.pw_path, pw_command=settings.pw_command)
        return ok("pw.x", f"version {pw_version(command)}: {' '.join(command)}")
    except ConfigError as error:
        return failed("pw.x", error, "install Quantum ESPRESSO, load its module, or set ZPE_PW_PATH")


def _libraries(settings: WorkerSettings) -> Iterator[Check]:
    program = None if settings.pw_command else shutil.which(settings.pw_path)
    found = blas_of(Path(program)) if program else None
    if found == REFERENCE:
        hint = "a slab takes half as long again; on Debian: apt install libopenblas0-serial"
        yield warn("BLAS", f"pw.x runs on the {found}", hint)
    elif found:
        yield ok("BLAS", f"pw.x runs on {found}")
    if program and links_hdf5(Path(program)) and find_spec("h5py") is None:
        hint = "pip install 'zpe[hdf5]': SCFs then start nearer to their end"
        yield warn("HDF5", "pw.x may write densities in HDF5, and h5py is not installed", hint)


def _pseudopotentials(settings: WorkerSettings) -> Check:
    name, folder = "pseudopotentials", settings.pseudo_dir
    hint = "set ZPE_PSEUDO_DIR to the folder that has the .UPF files"
    if folder is None or not folder.is_dir():
        return fail(name, f"no such folder: {folder}" if folder else "ZPE_PSEUDO_DIR is not set", hint)
    count = sum(path.is_file() and path.suffix.lower() == ".upf" for path in folder.iterdir())
    found = f"{count} .UPF files in {folder}"
    return ok(name, found) if count else warn(name, found, hint)


def _mpi(settings: WorkerSettings) -> Check:
    name = "MPI"
    if settings.pw_command:
        return ok(name, "left to ZPE_PW_COMMAND")
    if settings.use_mpi is False or settings.np_core == 1:
        return ok(name, "not used: one core per SCF")
    ranks = min(2, len(available_cores()))
    if ranks == 1:
        return ok(name, "not used: there is one core")
    hint = f"mend `{settings.mpi_cmd} -np 2 {settings.pw_path}`, set ZPE_MPI_CMD, or ZPE_USE_MPI=false"
    try:
        pw_version(pw_command(settings.pw_path, mpi_cmd=settings.mpi_cmd, ranks=ranks), ranks=ranks)
    except ConfigError as error:
        if settings.use_mpi or settings.np_core:
            return failed(name, error, hint)
        return warn(name, f"{error.message}: each SCF runs on one core", hint)
    return ok(name, f"{settings.mpi_cmd} starts pw.x on {ranks} ranks")


def _environ(settings: WorkerSettings) -> Iterator[Check]:
    path = settings.environ_path
    if path is None:
        return
    file = path / "environ.in" if path.is_dir() else path
    if file.is_file():
        yield ok("Environ", str(file))
    else:
        yield fail("Environ", f"there is no {file}", "set ZPE_ENVIRON_PATH to environ.in or its folder")


def _cores(settings: WorkerSettings, engine: EspressoEngine, capabilities: Capabilities) -> Check:
    small, large = (engine.ranks(PwInput.parse(_CELL.format(length=length))) for length in (6.0, 20.0))
    if settings.pw_command:
        each = f"ranks as ZPE_PW_COMMAND says: {_runs(settings, 1)}"
    elif small == large:
        each = f"{small} rank(s) each: {_runs(settings, small)}"
    else:
        each = f"1 rank for a cell of 6 Å, {large} for one of 20 Å: {_runs(settings, large)}"
    slots = capabilities.slots
    found = f"{len(available_cores())} core(s): {slots} SCF(s) side by side, {each}"
    return ok("cores", found)


def _runs(settings: WorkerSettings, ranks: int) -> str:
    """Return what will be run for an SCF on so many ranks."""
    command = pw_command(
        settings.pw_path, pw_command=settings.pw_command, mpi_cmd=settings.mpi_cmd, ranks=ranks
    )
    return f"{shlex.join(command)} -in {INPUT}"


def _work_dir(folder: Path) -> Check:
    name = "work folder"
    try:
        with own_folder(folder), tempfile.TemporaryFile(dir=folder):
            pass
    except ConfigError as error:
        if error.code != "work_dir_in_use":
            return failed(name, error, "set ZPE_WORK_DIR to a folder that this account may write")
    except OSError as error:
        return fail(name, f"{folder} cannot be written: {error.strerror}", "set ZPE_WORK_DIR to another one")
    free = shutil.disk_usage(folder).free
    found = f"{folder}, {free / 1e9:.1f} GB free"
    if free < _FREE_BYTES:
        return warn(name, found, "make room, or set ZPE_WORK_DIR to another disk")
    return ok(name, found)


def _control_plane(settings: WorkerSettings) -> Iterator[Check]:
    name = "control plane"
    try:
        url = base_url(settings.control_api_url, insecure=settings.insecure)
        transport = Transport(**options(url, settings.ca_bundle))
        with httpx.Client(base_url=url, timeout=_REPLY_SECONDS, transport=transport) as http:
            response = http.get("readyz")
        raise_for_error(response)
    except httpx.TransportError as error:
        named = unreachable(url, error)
        hint = {
            "tls_failed": "set ZPE_CA_BUNDLE to the PEM file of the authority that signed its certificate",
            "wrong_scheme": "correct ZPE_CONTROL_API_URL",
            "bad_proxy": "correct HTTPS_PROXY, HTTP_PROXY or ALL_PROXY",
        }.get(named.code, "is the address right, does it run, does a proxy or firewall stand between?")
        yield failed(name, named, hint)
        return
    except ZPEError as error:
        hint = {
            "store": "the control plane runs, its Redis does not answer: tell its administrator",
            "config": "set ZPE_CONTROL_API_URL to the control plane's https:// address",
        }.get(error.side, "tell its administrator")
        yield failed(name, error, hint)
        return
    yield ok(name, f"{url} answers" + (", over TLS" if url.scheme == "https" else ""))
    yield from _clock(response)
    yield _identity(settings)


def _clock(response: httpx.Response) -> Iterator[Check]:
    if "Date" not in response.headers:
        return
    ahead = time.time() - parsedate_to_datetime(response.headers["Date"]).timestamp()
    if abs(ahead) > _CLOCK_SECONDS:
        found = f"{abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} the control plane's"
        yield warn("clock", found, "run a time service (chrony, systemd-timesyncd) on both machines")
    else:
        yield ok("clock", f"agrees with the control plane's (within {max(1.0, abs(ahead)):.0f} s)")


def _identity(settings: WorkerSettings) -> Check:
    name = "enrolment"
    control = ControlPlane(settings, Event())
    # Without the enroll token this looks for what is there and never enrols.
    without = settings.model_copy(update={"enroll_token": None, "enroll_file": None})
    try:
        Credentials(without, control).establish(Capabilities())
        control.heartbeat(HeartbeatRequest(), seconds=_REPLY_SECONDS)
    except AuthError as error:
        if error.code != "not_enrolled":
            return failed(name, error, "ask the administrator for an enroll token and enrol again")
        if settings.enroll_token or settings.enroll_file:
            return warn(name, "not yet; there is an enroll token", "the first start of the worker uses it")
        return failed(name, error, "an administrator makes one with `zpe admin enroll-token`")
    except ZPEError as error:
        return failed(name, error, "see the message")
    finally:
        control.close()
    return ok(name, "enrolled; the control plane takes the token")
