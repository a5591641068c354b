"""Real kernels of notebooks, as a browser or an editor drives them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from tests.processes import PATIENCE, environment


class Kernel:
    """A kernel, and what its cells print and show."""

    def __init__(self, manager: KernelManager, client: BlockingKernelClient) -> None:
        self.manager = manager
        self.client = client
        self.printed = ""
        self.shown: list[dict[str, Any]] = []  # what cells have displayed, by kind of content

    def run(self, cell: str) -> str:
        """Run a cell to its end; return its streams and the name of its error."""
        sent = self.client.execute(cell)
        return self.output_of(sent)

    def output_of(self, sent: str) -> str:
        """Return what a cell prints until it is over."""
        output = ""
        while True:
            try:
                message = self.client.get_iopub_msg(timeout=PATIENCE)
            except Empty:
                raise AssertionError(f"the cell did not end; so far: {output}") from None
            self.printed += message["content"].get("text", "")
            if message["parent_header"].get("msg_id") != sent:
                continue
            content = message["content"]
            if "data" in content and message["msg_type"] != "comm_open":
                self.shown.append(content["data"])
            output += content.get("text", "") + content.get("ename", "") + content.get("evalue", "")
            if content.get("execution_state") == "idle":
                return output

    def line_of(self, sent: str, beginning: str) -> str:
        """Wait for a whole line with this beginning, and return it: what a cell prints comes in pieces."""
        output = ""
        while True:
            lines = [line for line in output.splitlines(keepends=True) if line.startswith(beginning)]
            if lines and lines[0].endswith("\n"):
                return lines[0].rstrip()
            try:
                message = self.client.get_iopub_msg(timeout=PATIENCE)
            except Empty:
                raise AssertionError(f"no line begins with {beginning!r}: {output}") from None
            if message["parent_header"].get("msg_id") == sent:
                output += message["content"].get("text", "") + message["content"].get("evalue", "")

    def send_comm(self, comm: str, data: dict[str, object]) -> None:
        """Send a message to a widget of the kernel, as a browser does."""
        message = self.client.session.msg("comm_msg", {"comm_id": comm, "data": data})
        self.client.shell_channel.send(message)


@contextmanager
def kernel(**settings: object) -> Iterator[Kernel]:
    """Run a kernel with these settings in its environment for the ``with`` block."""
    manager = KernelManager(kernel_name="python3")
    manager.start_kernel(env=environment(**settings))
    client = manager.client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=PATIENCE)
        yield Kernel(manager, client)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
