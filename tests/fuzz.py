"""Inputs at random, led by coverage, for what reads texts of others.

    pip install atheris
    python -m tests.fuzz parser -runs=400000

``parser`` reads and patches inputs of pw.x and of Environ, ``wire`` reads messages of every kind, ``outputs``
what pw.x prints and writes. Each may refuse what it gets in words of its own; whatever else it does ends the
run and leaves the bytes in a file ``crash-…``, which ``python -m tests.fuzz parser crash-…`` reads once more.
All other arguments are libFuzzer's.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import atheris

from tests.processes import H2

with atheris.instrument_imports(include=["zpe_sdk"]):
    from pydantic import ValidationError

    from zpe_sdk import wire
    from zpe_sdk.errors import ZPEError
    from zpe_sdk.espresso import dipole, environ, failures, output, patch, physics, said, surplus
    from zpe_sdk.espresso.environ_output import check_environ
    from zpe_sdk.espresso.input import parse
    from zpe_sdk.espresso.ionic_steps import StepReader, scf_cycles
    from zpe_sdk.espresso.iterations import tell_iterations
    from zpe_sdk.espresso.process import Output
    from zpe_sdk.espresso.pseudopotentials import headers
    from zpe_sdk.wire import Message, Task

ROOT = Path(__file__).parents[1]
PSEUDOPOTENTIALS = Path("/usr/share/espresso/pseudo")
ODD: list[Any] = [
    None,
    True,
    -1,
    10**400,
    1e308,
    "",
    "\x1b]0;\x07\u202e",
    "../../etc/passwd",
    [],
    {},
    [[[[]]]],
]


class Choices(Protocol):
    """What is to be done, as the fuzzer has it."""

    def ConsumeIntInRange(self, least: int, most: int) -> int: ...
    def ConsumeUnicode(self, most: int) -> str: ...
    def ConsumeRegularFloat(self) -> float: ...
    def remaining_bytes(self) -> int: ...


def read_input(data: bytes) -> None:
    """Read an input of pw.x, and write that of a displaced atom; or one of Environ."""
    text = data.decode(errors="surrogateescape" if data[:1] == b"\xff" else "replace")
    with contextlib.suppress(ZPEError):
        if "&ENVIRON" in text.upper():
            environ.parse(text).physics_hash()
            return
        pw_input = parse(text)
        task = Task(1, 0, (0.01, 0.0, 0.0))
        physics.scf_keys(pw_input, [Task(0), task])
        written = patch.task_text(
            pw_input, task, prefix="pw", outdir="./", pseudo_dir="./", electrons={}, nosym=False
        )
        # What was written has the same forces, but for lines that pw.x does not read.
        assert surplus.unread_lines(pw_input) or physics.physics_hash(parse(written)) == physics.physics_hash(
            pw_input
        )


def kinds() -> list[type[Message]]:
    """Return all messages."""
    found = [getattr(wire, name) for name in wire.__all__]
    return [kind for kind in found if isinstance(kind, type) and issubclass(kind, Message)]


SCHEMAS = [(kind, kind.model_json_schema()) for kind in kinds()]


def made(schema: dict[str, Any], named: dict[str, Any], choose: Choices, depth: int = 0) -> Any:
    """Return a value that fits a JSON schema, or nearly."""
    if depth > 8 or choose.ConsumeIntInRange(0, 15) == 15:
        return ODD[choose.ConsumeIntInRange(0, len(ODD) - 1)]
    if "$ref" in schema:
        return made(named[schema["$ref"].rsplit("/", 1)[1]], named, choose, depth)
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            among = schema[several]
            return made(among[choose.ConsumeIntInRange(0, len(among) - 1)], named, choose, depth)
    if "enum" in schema:
        return schema["enum"][choose.ConsumeIntInRange(0, len(schema["enum"]) - 1)]
    if "const" in schema:
        return schema["const"]
    match schema.get("type"):
        case "object":
            fields = schema.get("properties", {})
            wanted = schema.get("required", [])
            value = {
                name: made(field, named, choose, depth + 1)
                for name, field in fields.items()
                if name in wanted or choose.ConsumeIntInRange(0, 3) == 0
            }
            if isinstance(of := schema.get("additionalProperties"), dict):
                value |= {f"k{n}": made(of, named, choose, depth + 1) for n in range(_few(choose))}
            return value
        case "array":
            if "prefixItems" in schema:
                return [made(item, named, choose, depth + 1) for item in schema["prefixItems"]]
            return [made(schema.get("items", {}), named, choose, depth + 1) for _ in range(_few(choose))]
        case "string":
            return "a1" if "pattern" in schema else choose.ConsumeUnicode(8)
        case "integer":
            return choose.ConsumeIntInRange(-2, 300)
        case "number":
            return choose.ConsumeRegularFloat() if choose.ConsumeIntInRange(0, 1) else 0.01
        case "boolean":
            return bool(choose.ConsumeIntInRange(0, 1))
        case "null":
            return None
    return ODD[choose.ConsumeIntInRange(0, len(ODD) - 1)]


def _few(choose: Choices) -> int:
    return choose.ConsumeIntInRange(0, 3)


def read_message(data: bytes) -> None:
    """Read a message; what is taken says the same when it is written and read again."""
    choose = atheris.FuzzedDataProvider(data)
    kind, schema = SCHEMAS[choose.ConsumeIntInRange(0, len(SCHEMAS) - 1)]
    if choose.ConsumeIntInRange(0, 7):
        text = json.dumps(made(schema, schema.get("$defs", {}), choose)).encode()
    else:
        text = bytes(choose.ConsumeBytes(choose.remaining_bytes()))
    try:
        message = kind.model_validate_json(text)
    except ValidationError as refused:
        refused.errors(include_url=False)
        return
    assert kind.model_validate_json(message.model_dump_json()) == message


def read_output(data: bytes) -> None:
    """Read what a pw.x may have printed and written."""
    text = data.decode(errors="replace")
    with contextlib.suppress(ZPEError):
        output.read_result(FOLDER, "none", text, seconds=1.0)
    failures.failure(text, text[-500:], 1)
    failures.too_long(text, text)
    said.ignored(text)
    dipole.read_valences(text)
    with contextlib.suppress(ZPEError):
        check_environ(text, "&ENVIRON\n/\n")
    scf_cycles(text, 2)
    written = FOLDER / "pw.xml"
    written.write_bytes(data)
    with contextlib.suppress(ZPEError):
        output.read_result(FOLDER, "pw", "", seconds=1.0)
    (FOLDER / "data-file-schema.xml").write_bytes(data)
    output.gap_of(FOLDER)
    headers([written])
    listen = tell_iterations(lambda _: None)
    copy = Output(FOLDER / "pw.out", listen)
    steps = StepReader(
        output.np.zeros((2, 3)), output.np.eye(3), written, environ=None, on_step=lambda _: None
    )
    followed = Output(FOLDER / "steps.out", steps.listen)
    with contextlib.suppress(ZPEError):
        copy.feed(data)
        followed.feed(data)
    copy.close()
    followed.close()


def _texts() -> list[bytes]:
    """Return inputs to begin with."""
    folders = ("samples/qe-in", "tests/physics", "benchmarks/inputs")
    inputs = [path.read_bytes() for folder in folders for path in (ROOT / folder).glob("*.in")]
    water = b"&ENVIRON\n environ_type = 'water'\n/\n&BOUNDARY\n/\n&ELECTROSTATIC\n/\n"
    return [H2.encode(), water + b"DIELECTRIC bohr\n1 0 0 0 1 1 3 0\n", *inputs]


def _outputs() -> list[bytes]:
    """Run pw.x, and return what it has left to read."""
    relaxed = H2.replace("&CONTROL", "&CONTROL\n calculation = 'relax'\n tprnfor = .true.")
    found = [(PSEUDOPOTENTIALS / "H.pbe-kjpaw.UPF").read_bytes()[:4000]]
    for name, text in (
        ("scf", relaxed.replace("relax", "scf")),
        ("relax", relaxed),
        ("bad", H2.replace("1.008", "x")),
    ):
        with tempfile.TemporaryDirectory() as folder:
            settings = f"&CONTROL\n pseudo_dir = '{PSEUDOPOTENTIALS}'\n outdir = './'\n prefix = '{name}'\n"
            text = text.replace("&CONTROL\n", settings).replace("&ELECTRONS\n/", "&ELECTRONS\n/\n&IONS\n/")
            (Path(folder) / "pw.in").write_text(text)
            run = subprocess.run(["pw.x", "-in", "pw.in"], cwd=folder, capture_output=True, check=False)
            found.append(run.stdout)
            found += [path.read_bytes() for path in Path(folder).glob(f"{name}.*") if path.is_file()]
    # In pieces: whole, they would be read slowly, and altered in places that nobody looks at.
    return [text[begin : begin + 5000] for text in found for begin in range(0, len(text), 2500)]


TARGETS: dict[str, tuple[Callable[[bytes], None], Callable[[], list[bytes]]]] = {
    "parser": (read_input, _texts),
    "wire": (read_message, list),
    "outputs": (read_output, _outputs),
}

if __name__ == "__main__":
    target, seeds = TARGETS[sys.argv[1]]
    with tempfile.TemporaryDirectory(prefix="zpe-fuzz-") as place:
        FOLDER = Path(place)
        corpus = FOLDER / "corpus"
        corpus.mkdir()
        for number, seed in enumerate(seeds()):
            (corpus / str(number)).write_bytes(seed)
        once = [argument for argument in sys.argv[2:] if Path(argument).is_file()]
        folders = [] if once else [str(corpus)]
        atheris.Setup([sys.argv[0], *sys.argv[2:], *folders], target)
        atheris.Fuzz()
