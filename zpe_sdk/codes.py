"""The vocabulary of errors: each code, whose failure it is, and what to do about it.

``docs/errors.md`` is made from this table, and the control plane takes its HTTP statuses from it.
"""

from __future__ import annotations

from dataclasses import dataclass

from zpe_sdk.errors import Side

# A pw.x input that cannot be carried out is 400, as pages and scripts know it; a request that is malformed
# itself is 422. The class of the error, for those who use the SDK, is the same.
UNFIT_INPUT = 400
# Of an error whose code has no status of its own.
STATUS_OF_SIDE: dict[Side, int] = {"input": 422, "auth": 403, "store": 503, "config": 422, "compute": 422}


@dataclass(frozen=True)
class Meaning:
    """What a code means: the sides that can be at fault, what to do, and an HTTP status of its own."""

    sides: tuple[Side, ...]
    remedy: str
    status: int | None = None


def _table(
    side: Side, rows: dict[str, str | tuple[int, str]], *, status: int | None = None
) -> dict[str, Meaning]:
    """Return a table's rows, each with its own status or that of them all."""
    return {
        code: Meaning((side,), row, status) if isinstance(row, str) else Meaning((side,), row[1], row[0])
        for code, row in rows.items()
    }


CODES: dict[str, Meaning] = {
    **_table(
        "input",
        {
            # A structure or a pw.x input.
            "atoms_too_close": "Move the named atoms apart, or correct the unit of the positions.",
            "bad_cell": "Give three lattice vectors that span a volume.",
            "bad_lattice": "Correct `ibrav`, `celldm` or `A, B, C`.",
            "bad_positions": "Give one finite position for each atom.",
            "bad_structure": "Correct what the message names in the Atoms or the options.",
            "binary_input": "Give the text of a pw.x input.",
            "empty_input": "Give a pw.x input; this one is empty.",
            "file_missing": "Check the path.",
            "file_unreadable": "Check the permissions of the file.",
            "file_unwritable": "Choose another place for the output.",
            "no_pw_input": "Give a pw.x input, or read the file with `ase.io.read` and submit the Atoms.",
            "no_such_version": "Leave out one of the two keys or cards that no version of pw.x has together.",
            "not_for_a_text": "Put the option into the pw.x input itself.",
            "not_supported": "Leave the named key or card out; docs/qe-input.md says why.",
            "out_of_bounds": "Give a value within the bounds that the message names.",
            "path_in_input": "Leave the path out: an input reads and writes in its run folder only.",
            "step_missing": "Report the steps of a relaxation in their order.",
            "symmetry_not_found": "Check the structure, or submit with `symmetry=False`.",
            "unknown_element": "Name the species so that its element can be told.",
            "unknown_key": "Correct the spelling; the message suggests the nearest key.",
            "bad_mobile_indices": "Name existing atoms that are not fixed.",
            "bad_task": "Take a larger `delta`, or update the worker.",
        },
        status=UNFIT_INPUT,
    ),
    **_table(
        "input",
        {
            # A request.
            "bad_archive": "Give the file that `project.export` or `zpe export` wrote, whole.",
            "bad_choice": "Give one of the named choices.",
            "bad_delta": "Give a positive displacement in Å.",
            "bad_job_id": "Give the id that the submission printed.",
            "bad_json": "Give the JSON that `to_json` wrote.",
            "bad_request": "Correct the named field.",
            "store_not_empty": (409, "Import into a store that holds nothing yet."),
            "bad_selection": "Say which jobs or SCFs are meant.",
            "body_too_large": (413, "Send less; docs/http-api.md has the limit of each call."),
            "body_too_slow": (408, "Send the body of the request without long pauses."),
            "dipoles_invalid": "Give three numbers in e Å for each SCF.",
            "forces_malformed": "Report one row of forces for each atom of the input.",
            "forces_missing": "Wait until all SCFs are in.",
            "idempotency_conflict": (409, "Use a new Idempotency-Key for another request."),
            "invalid_request": "Correct the named field.",
            "job_cancelled": (409, "The job was cancelled; submit it again if it is wanted."),
            "job_not_found": (404, "Check the id; jobs of others are not shown."),
            "job_over": (409, "The job has ended already; look at its status."),
            "lease_not_found": (404, "The lease has ended; ask for another one."),
            "lease_not_yours": (409, "The lease was lost or settled; ask for another one."),
            "lease_partial": (409, "Report the tasks one by one."),
            "method_not_allowed": "See docs/http-api.md for the methods of each address.",
            "no_such_page": "Check the address; docs/http-api.md lists all.",
            "name_taken": (409, "Give the job another name, or cancel the one that has it."),
            "not_finished": (409, "Wait for the job to finish."),
            "not_in_dlq": (409, "Only jobs in the dead-letter queue can be requeued or discarded."),
            "owner_reserved": "Choose another name for the owner.",
            "not_comparable": "Compute all with the same physics; the message says what differs.",
            "relaxation_missing": "Wait until the relaxation has ended.",
            "quota_bytes": (429, "Wait until old results are forgotten, or ask an administrator for more."),
            "quota_jobs": (429, "Wait until some of your jobs have ended, or ask an administrator for more."),
            "result_malformed": "Send a whole result with the named field.",
            "token_not_found": (404, "Check the token's id."),
            "unknown_target": "Name a worker that `zpe workers` lists, a group of yours, `mine` or `any`.",
            "no_owner": (409, "Name the owner; what administrators enrol takes everybody's jobs."),
            "too_few_scfs": (409, "Wait for more SCFs."),
            "worker_not_found": (404, "Check the worker's id."),
            # A result evaluated.
            "atoms_fixed": "Take another format: this one is of systems all of whose atoms move.",
            "bad_cutoff": "Give a wavenumber from 0 on.",
            "bad_format": "Give one of the formats that the message names.",
            "bad_masses": "Name mobile atoms, and isotopes or masses in u.",
            "bad_mode": "Give the number of a mode.",
            "bad_model": "Give `harmonic`, `ideal_gas` or `quasi_harmonic`.",
            "bad_pressure": "Give a pressure above 0 Pa.",
            "bad_reaction": "Correct the coefficients, or add the result that is missing.",
            "bad_result": "Give the result of a job of vibrations.",
            "bad_rotor": "Give pairs of bonded atoms, such as (0, 1); what hangs on the first turns.",
            "bad_shape": "Give `lorentzian`, `gaussian` or `voigt`.",
            "bad_spectrum": "Give a JCAMP-DX file, or two columns of wavenumber and absorbance.",
            "bad_spin": "Give `spin=`: 0, 0.5, 1, …",
            "bad_symmetry_number": "Give a whole number from 1 on.",
            "bad_temperature": "Give a temperature within the bounds that the message names.",
            "bad_width": "Give a positive width in cm⁻¹.",
            "mode_not_real": "Relax the structure; or take `result.expecting('saddle')` for a saddle point.",
            "no_intensities": "Compute it anew with a worker that reports dipoles; crystals have none.",
            "no_molecule": "Take another model: this is not a free molecule.",
            "no_saddle_point": "Expect a minimum: there is not exactly one imaginary vibration.",
        },
    ),
    **_table(
        "auth",
        {
            "accepts_too_wide": "Let the worker accept fewer jobs, or ask an administrator.",
            "bad_enroll_token": (400, "Mint a new enroll token, or ask an administrator for one."),
            "bad_token": (401, "Log in again (`zpe login`), or ask for a new token."),
            "login_failed": "Log in again, and within the time that the issuer gives.",
            "not_allowed": "Ask an administrator to let you in (`ZPE_OIDC_ALLOWED`).",
            "forbidden": "Ask an administrator; this token may not do that.",
            "no_admin": "Set `ZPE_ADMIN_TOKEN` on the control plane.",
            "no_token": (401, "Send a token: `Authorization: Bearer …`."),
            "not_enrolled": "Enrol the worker with an enroll token.",
            "token_missing": "Set `ZPE_TOKEN`, or run `zpe login`.",
            "too_many_failures": (429, "Wait a minute, then use a valid token."),
            "user_workers_off": "Ask an administrator for an enroll token, or to set `ZPE_USER_WORKERS`.",
            "worker_revoked": (403, "Ask an administrator; enrol again with a new enroll token."),
        },
    ),
    **_table(
        "config",
        {
            "cannot_relax": "Have a worker without an executor relax the structure.",
            "client_too_old": (426, "Update zpe on the machine that sent the request: `pip install -U zpe`."),
            "bad_ca_bundle": "Name a PEM file of certificate authorities.",
            "bad_credentials_file": "Correct or remove the file, and run `zpe login`.",
            "bad_data_dir": "Name a folder that can be written.",
            "bad_dev": "Use `--dev` on a loopback address only.",
            "bad_enroll_file": "Name the file that holds the enroll token.",
            "bad_identity_file": "Remove the named file, and enrol again.",
            "bad_proxy": "Correct the named variable, or name the control plane's host in `NO_PROXY`.",
            "bad_reply": "Update the control plane; or find out who answers in its place.",
            "command_not_found": "Correct the command, or install the program.",
            "bad_setting": "Correct the named setting; docs/settings.md lists all.",
            "bad_tls": "Give certificate and key of the server.",
            "bad_url": "Give a URL such as https://zpe.example.org.",
            "bad_work_dir": "Name a folder with room that can be written.",
            "control_plane_unreachable": "Check URL and network.",
            "data_of_other_server": "Install the server that the message names, or move by `zpe export`.",
            "data_dir_in_use": "Stop the other control plane, or name another folder.",
            "environ_missing": "Install Environ, or set `ZPE_ENVIRON_PATH`; other workers may have it.",
            "environ_unusable": "Correct the worker's own `environ.in`.",
            "executor_empty": "Add workers to the cluster.",
            "executor_mixed": "Make the cluster's nodes alike: same engine, program and files.",
            "executor_unreachable": "Check `ZPE_EXECUTOR` and the scheduler.",
            "extra_missing": "Install the extra that the message names.",
            "insecure_proxy": "Use https://, or name the control plane's host in `NO_PROXY`.",
            "issuer_unreachable": (503, "Wait; the issuer of logins (`ZPE_OIDC_ISSUER`) does not answer."),
            "no_device_login": "Use a token of an administrator: `zpe login --with-token`.",
            "insecure_url": "Use https://, or `insecure=True` on a network you trust.",
            "internal_error": (
                500,
                "Report it with the request's id; the control plane's log has more.",
            ),
            "mpi_unusable": "Use the mpirun of pw.x's own MPI, or `ZPE_USE_MPI=false`.",
            "not_a_control_plane": "Check the URL; a proxy or another service answers there.",
            "pseudo_dir_missing": "Set `ZPE_PSEUDO_DIR`.",
            "pseudopotential_missing": "Install the file on a worker; others are asked meanwhile.",
            "pw_not_found": "Set `ZPE_PW_PATH`.",
            "redis_not_found": "Install `zpe[embedded]` or a redis-server, or set `ZPE_REDIS_URL`.",
            "redis_unreachable": "Check `ZPE_REDIS_URL`.",
            "redis_cluster": "Set `ZPE_REDIS_URL` to a Redis that is no cluster, or use `remote-http`.",
            "redis_url_missing": "Set `ZPE_REDIS_URL`; this command does not run a Redis of its own.",
            "service_not_started": "Read the end of the named log.",
            "spglib_missing": "Install `zpe[server]`.",
            "submission_disabled": (503, "Wait until an administrator allows submissions again."),
            "tls_failed": "Set `ZPE_CA_BUNDLE` to the PEM file of the authority; or renew the certificate.",
            "url_missing": "Set `ZPE_CONTROL_API_URL`, or run `zpe login URL`.",
            "wrong_scheme": "Give the address that the message names, with the right `https://` or `http://`.",
            "work_dir_in_use": "Stop the other worker, or set another `ZPE_WORK_DIR`.",
            "zpe_missing": "Install zpe, in this version, on the nodes that the message names.",
        },
    ),
    **_table(
        "compute",
        {
            "atom_lost": "Look at the last structure: the molecule has fallen apart, or desorbs.",
            "relaxation_not_converged": "Requeue the job to go on, or look at its last structure.",
            "relaxation_stuck": "Requeue the job, or start from a structure nearer to the minimum.",
            "relaxation_taken_back": "Submit the job again.",
            "assembly_failed": "Report it: the result could not be made from the forces.",
            "density_unreadable": "The job goes on without intensities; install h5py where pw.x writes HDF5.",
            "electronic_state_differs": "Fix the state in the input, or submit with `allow_state_changes`.",
            "executor_lost": "It is tried again; look at the cluster if it keeps happening.",
            "fingerprint_mismatch": "Submit again with `calc_mode='new'`.",
            "job_failed": "Read the detail of the job.",
            "out_of_memory": "Give pw.x more memory, or run fewer SCFs side by side.",
            "output_too_long": "Read the last lines in the traceback: pw.x repeats something without end.",
            "pw_crashed": "Read the last lines of pw.x's output in the traceback.",
            "pw_killed": "Find out what ended pw.x: a batch system, an administrator.",
            "report_refused": "Update the worker; the control plane refused what it reported.",
            "result_incomplete": "Compute it anew on another worker: `calc_mode='new'`.",
            "scf_not_converged": "Submit with other mixing, more smearing or the right magnetic moments.",
            "stopped": "Nothing: the run was stopped on request.",
            "walltime": "Give the worker more time, or run fewer atoms per SCF.",
            "worker_died": "It is tried again; if it keeps happening, look for memory or a batch limit.",
            "worker_error": "Report it with the traceback.",
            "workers_disagree": "Find out which worker is wrong, revoke it with its results, and requeue.",
        },
    ),
    **_table(
        "store",
        {
            "busy": "Wait a moment; too much is asked for at a time.",
            "store_in_use": "Stop the control planes that run on this Redis.",
            "redis_not_started": "Read the last line that the message shows.",
            "result_too_large": (413, "Raise `ZPE_MAX_RESULT_BYTES`, or use the result store `s3`."),
            "store_unavailable": "Wait, or look at Redis or the object store; nothing is lost.",
            "unavailable": "Wait; the control plane is away or restarting.",
            "unreachable": "Check URL and network; the control plane does not answer.",
        },
    ),
    # Whose failure these are depends on what exactly happened.
    "bad_input": Meaning(("input",), "Correct what pw.x or the reader of its input names.", UNFIT_INPUT),
    "forces_invalid": Meaning(("compute", "input"), "Look at the run: its energy or forces are not numbers."),
    "scf_too_slow": Meaning(
        ("compute", "config"),
        "Allow more time (`max_scf_seconds` of `requires`, `ZPE_MAX_SCF_SECONDS`), or find what slows it.",
    ),
    "input_ignored": Meaning(
        ("config", "input"), "Leave out what pw.x ignored, or have a worker with a version that knows it."
    ),
}


def status_of(code: str, side: Side) -> int:
    """Return the HTTP status of an error."""
    meaning = CODES.get(code)
    return meaning.status if meaning and meaning.status else STATUS_OF_SIDE[side]


def errors_page() -> str:
    """Return the page of the documentation that lists all codes, in Markdown."""
    titles: dict[Side, str] = {
        "input": "Input: what was sent cannot be carried out",
        "auth": "Auth: no token, or not one that may do this",
        "config": "Config: a machine is not set up",
        "compute": "Compute: the calculation failed",
        "store": "Store: Redis or the object store",
    }
    lines = [
        "# Errors",
        "",
        "Every error has a side (who can mend it) and a code (a stable name, for programs): `error.side` and",
        "`error.code`, of the exception in Python and of the reply over HTTP. The status is that of the",
        "control plane's reply: 400 for a `pw.x` input that cannot be carried out, 422 for a malformed",
        "request.",
    ]
    for side, title in titles.items():
        lines += ["", f"## {title}", "", "| code | status | what to do |", "| --- | --- | --- |"]
        for code, meaning in sorted(CODES.items()):
            if side in meaning.sides:
                lines.append(f"| `{code}` | {status_of(code, side)} | {meaning.remedy} |")
    return "\n".join(lines) + "\n"
