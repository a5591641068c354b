"""Write the blocking twins of the asynchronous methods, as code that a reader and a type checker see.

    python scripts/write_blocking.py            # rewrite what is between the marks
    python scripts/write_blocking.py --check    # fail if that would change anything

Only what stands between the marks of a file is written; the rest of it is written by hand.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

CLIENT = Path(__file__).parents[1] / "zpe_sdk" / "client"
BEGIN = "    # Written by scripts/write_blocking.py from {source}: do not edit.\n"
END = "    # End of what is written.\n"


@dataclass(frozen=True)
class Twin:
    """Methods of ``kind`` in ``source`` that ``target`` has as blocking ones.

    ``wrapped`` says, by method, what is made of the returned value; ``{}`` stands for it.
    """

    source: str
    kind: str
    target: str
    methods: tuple[str, ...]
    wrapped: dict[str, str]
    renamed: dict[str, str]


TWINS = (
    Twin(
        "async_job.py",
        "AsyncJob",
        "job.py",
        (
            "status",
            "result",
            "partial",
            "summary",
            "freqs_csv",
            "detail",
            "cancel",
            "requeue",
            "update",
            "resubmit",
        ),
        {"resubmit": "Job({})"},
        {},
    ),
    Twin(
        "async_client.py",
        "AsyncZPEClient",
        "blocking_client.py",
        (
            *("submit", "relax", "energy", "follow", "submit_many", "plan", "pseudopotentials"),
            *("parse", "jobs", "cancel_jobs", "me", "keep_login", "show_jobs", "aclose"),
        ),
        {
            "submit": "self._told([{}])[0]",
            "relax": "self._told([{}])[0]",
            "energy": "self._told([{}])[0]",
            "follow": "self._told({})",
            "submit_many": "self._told({})",
            "jobs": "{}.each(Job)",
        },
        {"aclose": "close"},
    ),
    Twin(
        "async_project.py",
        "AsyncProject",
        "project.py",
        ("submit", "submit_many", "jobs", "results", "table", "export"),
        {
            "submit": "self._client._told([{}])[0]",
            "submit_many": "self._client._told({})",
            "jobs": "{}.each(Job)",
        },
        {},
    ),
    Twin("async_admin.py", "AsyncAdmin", "admin.py", (), {}, {}),
    Twin("async_workers.py", "AsyncWorkers", "workers.py", (), {}, {}),
)


def blocking_methods(twin: Twin) -> str:
    """Return the source of the blocking methods of a class; all public ones if none are named."""
    tree = ast.parse((CLIENT / twin.source).read_text())
    [found] = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == twin.kind]
    methods = {node.name: node for node in found.body if isinstance(node, ast.AsyncFunctionDef)}
    names = twin.methods or [name for name in methods if not name.startswith("_")]
    return "\n".join(_method(methods[name], twin) for name in names)


def _method(node: ast.AsyncFunctionDef, twin: Twin) -> str:
    arguments = node.args
    names = [argument.arg for argument in arguments.posonlyargs + arguments.args]
    passed = [name for name in names if name != "self"]
    passed += [f"{argument.arg}={argument.arg}" for argument in arguments.kwonlyargs]
    if arguments.kwarg:
        passed.append(f"**{arguments.kwarg.arg}")
    call = f"run(self._async.{node.name}({', '.join(passed)}))"
    returns = ast.unparse(node.returns) if node.returns else "None"
    blocking = ast.FunctionDef(
        name=twin.renamed.get(node.name, node.name),
        args=arguments,
        body=[ast.Expr(ast.Constant("DOCSTRING"))],
        decorator_list=[],
        returns=ast.parse(_plain(returns), mode="eval").body,
        type_params=[],
    )
    head = ast.unparse(ast.fix_missing_locations(blocking)).partition("\n")[0]
    result = twin.wrapped.get(node.name, "{}").format(call)
    docstring = _plain(ast.get_docstring(node, clean=False) or "")
    lines = [head, f'    """{docstring}"""', "    __tracebackhide__ = True  # IPython leaves such frames out"]
    lines.append(f"    {result}" if returns == "None" else f"    return {result}")
    # The docstring has its indentation from the class already.
    text = "\n".join(f"    {line}" if n < 1 else line for n, line in enumerate(lines))
    return _indented(text, docstring)


def _indented(text: str, docstring: str) -> str:
    before, _, after = text.partition(docstring)
    body = after.split("\n")
    return "    " + before.lstrip().replace("\n", "\n    ") + docstring + "\n    ".join(body) + "\n"


def _plain(text: str) -> str:
    for twin in ("Job", "ZPEClient", "Admin", "Project", "Workers"):
        text = text.replace(f"Async{twin}", twin)
    return text


def written(twin: Twin) -> str:
    """Return the target file with its methods written anew."""
    text = (CLIENT / twin.target).read_text()
    begin = BEGIN.format(source=twin.source)
    before, mark, rest = text.partition(begin)
    _, end, after = rest.partition(END)
    if not mark or not end:
        raise SystemExit(f"{twin.target} has no marks {begin.strip()!r} and {END.strip()!r}")
    new = before + begin + "\n" + blocking_methods(twin) + "\n" + END + after
    return subprocess.run(
        [Path(sys.executable).parent / "ruff", "format", "--stdin-filename", str(CLIENT / twin.target), "-"],
        input=new,
        capture_output=True,
        text=True,
        check=True,
    ).stdout


def main() -> None:
    """Write, or check."""
    stale = [twin for twin in TWINS if written(twin) != (CLIENT / twin.target).read_text()]
    if "--check" in sys.argv[1:]:
        if stale:
            raise SystemExit(f"run scripts/write_blocking.py: {', '.join(t.target for t in stale)} are stale")
        return
    for twin in stale:
        (CLIENT / twin.target).write_text(written(twin))


if __name__ == "__main__":
    main()
