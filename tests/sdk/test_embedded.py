"""A service of the notebook's own: started, used, stopped, and its data there the next time."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest
from ase.build import molecule

from tests.sdk.test_demo import left_of
from zpe_sdk import AsyncZPEClient, ConfigError, ZPEClient

OTHER = """
import sys
from zpe_sdk import ConfigError, ZPEClient
try:
    ZPEClient.embedded(sys.argv[1], engine="mock")
except ConfigError as error:
    print(error.code)
"""


def test_nothing_to_set_up_and_nothing_left_running(tmp_path: Path) -> None:
    folder = tmp_path / "notebook"
    with ZPEClient.embedded(folder, engine="mock") as client:
        job = client.submit(molecule("H2"), name="first").wait(240, progress=False)
        assert job.result().zpe_ev > 0.2
        assert len(left_of(folder)) > 2
        # A cell that is run again.
        assert ZPEClient.embedded(folder, engine="mock").url == client.url
        # Another process cannot use the folder meanwhile.
        other = subprocess.run(
            [sys.executable, "-c", OTHER, folder], capture_output=True, text=True, check=False
        )
        assert other.stdout.strip() == "service_not_started", other.stderr
        assert client.job(job.id).status().status == "finished"
    assert left_of(folder) == []

    async def again() -> list[str | None]:
        async with await AsyncZPEClient.embedded(folder, engine="mock") as client:
            jobs = await client.jobs()
            assert (await jobs[0].result()).zpe_ev > 0.2
            return [job.last_status.name for job in jobs if job.last_status]

    assert asyncio.run(again()) == ["first"]
    assert left_of(folder) == []


def test_without_pw_x_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError) as caught:
        ZPEClient.embedded(tmp_path / "notebook")
    assert caught.value.code == "pw_not_found"
