"""Stores of results: Redis and a real S3 server over HTTP, with the same behaviour."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from moto.server import ThreadedMotoServer

from tests.processes import PATIENCE, ControlPlane, h2, wait_until
from zpe_sdk import ZPEClient
from zpe_sdk.errors import StoreError

BUCKET = "lab-results"
KEYS = {"AWS_ACCESS_KEY_ID": "someone", "AWS_SECRET_ACCESS_KEY": "s3-secret-that-nobody-sees"}


class S3:
    """An S3 server with one bucket."""

    def __init__(self) -> None:
        self.server = ThreadedMotoServer("127.0.0.1", port=0)
        self.server.start()
        self.url = "http://{}:{}".format(*self.server.get_host_and_port())
        httpx.put(f"{self.url}/{BUCKET}").raise_for_status()

    def settings(self) -> dict[str, object]:
        return {
            "ZPE_RESULT_STORE": "s3",
            "ZPE_S3_BUCKET": BUCKET,
            "ZPE_S3_ENDPOINT": self.url,
            "ZPE_COMPUTE_MODE": "mock",
            **KEYS,
        }

    def objects(self) -> set[str]:
        listing = httpx.get(f"{self.url}/{BUCKET}").text
        return {part.split("</Key>")[0] for part in listing.split("<Key>")[1:]}


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    server = S3()
    yield server
    server.server.stop()


def test_results_go_to_s3_and_come_back(own_control_plane: Callable[..., ControlPlane], s3: S3) -> None:
    plane = own_control_plane(**s3.settings())
    with ZPEClient(plane.url, plane.admin_token) as client:
        job = client.submit(h2()).wait(PATIENCE, progress=False)
        assert job.result().zpe_ev > 0.2
        assert job.summary().startswith("# ZPE summary")
        assert s3.objects() == {
            f"zpe/{job.id}/{name}" for name in ("result.json", "summary.txt", "freqs.csv")
        }
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in plane.log


def test_an_s3_that_is_away_is_503_and_jobs_wait_for_it(
    own_control_plane: Callable[..., ControlPlane], s3: S3
) -> None:
    plane = own_control_plane(**s3.settings())
    with ZPEClient(plane.url, plane.admin_token, retry_seconds=0) as client:
        done = client.submit(h2()).wait(PATIENCE, progress=False)
        host, port = s3.server.get_host_and_port()
        s3.server.stop()
        with pytest.raises(StoreError) as caught:
            done.result()
        assert caught.value.code == "unavailable" or caught.value.code == "store_unavailable"
        waiting = client.submit(h2(), calc_mode="new")
        wait_until(lambda: waiting.status().progress.done == waiting.status().progress.total)
        assert waiting.status().status == "started"
        s3.server = ThreadedMotoServer(host, port=port)
        s3.server.start()
        httpx.put(f"{s3.url}/{BUCKET}").raise_for_status()
        assert waiting.wait(PATIENCE, progress=False).result().zpe_ev > 0.2


def test_a_result_too_large_for_redis_fails_and_finishes_on_s3_without_another_scf(
    own_control_plane: Callable[..., ControlPlane], s3: S3, tmp_path: Path
) -> None:
    log = tmp_path / "mock.log"
    plane = own_control_plane(ZPE_COMPUTE_MODE="mock", ZPE_MAX_RESULT_BYTES=500, ZPE_MOCK_LOG=log)
    with ZPEClient(plane.url, plane.admin_token) as client:
        job = client.submit(h2())
        with pytest.raises(StoreError) as caught:
            job.wait(PATIENCE, progress=False)
        assert caught.value.code == "result_too_large"
        assert "ZPE_RESULT_STORE=s3" in caught.value.message
        computed = log.read_text()
        plane.stop()
        plane.settings |= s3.settings()
        plane.start()
        job.requeue()
        assert job.wait(PATIENCE, progress=False).result().zpe_ev > 0.2
    assert log.read_text() == computed
    assert os.path.getsize(log) > 0
