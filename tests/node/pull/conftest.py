"""A hub on loopback and our client of it."""

import time
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest

from node.hub import Hub
from tests.node.pull.fake_hub import FakeHub, running_hub


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """huggingface_hub waits seconds between its own attempts; a proxy of the machine is not asked for loopback."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    huggingface_hub.close_session()
    yield
    huggingface_hub.close_session()


@pytest.fixture
def server() -> Iterator[FakeHub]:
    """A hub that has nothing yet."""
    with running_hub() as fake:
        yield fake


@pytest.fixture
def hub(server: FakeHub, tmp_path: Path) -> Hub:
    """The client, with a home of its own."""
    return Hub(server.endpoint, "hf_secret", tmp_path / "home", retry_wait=0)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with HF_HUB_OFFLINE=1, which the library reads when it is imported."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
