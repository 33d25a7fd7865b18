"""Which files a pull asks for."""

from pathlib import Path

import pytest

from node.hub import Hub
from node.pull import INDEX, PullResult, pull
from node.pull_errors import HubOffline
from sharding.errors import TensorMissing
from sharding.float_engine import FloatEngine
from sharding.random_model import RandomShape, write_random_model
from sharding.span import Span
from tests.node.pull.fake_hub import FakeHub
from tests.node.pull.slate import (
    COMMIT,
    CONFIG,
    LATER,
    NEVER,
    PARTS,
    REPO,
    SMALL,
    as_json,
    files_of,
    publish,
    sharded,
    weight_map,
    weights,
)


@pytest.fixture(autouse=True)
def _model(server: FakeHub) -> None:
    publish(server)


@pytest.mark.parametrize(
    ("blocks", "parts"),
    [
        ("0:1", [0]),  # the embeddings lie in the same part
        ("1:2", [1, 2]),  # a block in two parts
        ("2:3", [2]),
        ("3:4", [3]),  # norm and head too
        ("0:2", [0, 1, 2]),
        ("1:3", [1, 2]),
        ("2:4", [2, 3]),
        ("0:4", [0, 1, 2, 3]),
    ],
)
def test_only_the_files_of_the_span_are_fetched(hub: Hub, server: FakeHub, blocks: str, parts: list[int]) -> None:
    """Exactly the parts that hold a tensor of the span, and the small files; nothing else is even asked for."""
    result = pull(REPO, Span.parse(blocks), hub=hub)

    expected = {"config.json", INDEX, *SMALL, *(PARTS[part] for part in parts)}
    assert set(server.fetched()) == expected
    assert set(result.files) == expected
    assert not any(server.asked(name) for name in NEVER)


def test_without_a_span_the_whole_model_is_fetched(hub: Hub, server: FakeHub) -> None:
    """All parts; still no pickles and no python."""
    pull(REPO, hub=hub)

    assert set(server.fetched()) == {"config.json", INDEX, *SMALL, *PARTS}


def test_a_tied_head_is_fetched_with_the_embeddings(hub: Hub, server: FakeHub) -> None:
    """The last stage of a tied model needs the embedding table, wherever it lies."""
    places = {name: file for name, file in weight_map().items() if name != "lm_head.weight"}
    files_of(server)["config.json"] = as_json(CONFIG | {"tie_word_embeddings": True})
    files_of(server)[INDEX] = as_json({"weight_map": places})

    pull(REPO, Span(3, 4), hub=hub)

    assert weights(server.fetched()) == [PARTS[0], PARTS[3]]


def test_a_model_in_one_file_is_that_file(hub: Hub, server: FakeHub) -> None:
    """Without an index every span needs the one file."""
    server.repos[REPO].commits[COMMIT] = {"config.json": as_json(CONFIG), "model.safetensors": b"one", **NEVER}

    result = pull(REPO, Span(1, 2), hub=hub)

    assert result.files == ("config.json", "model.safetensors")
    assert set(server.fetched()) == set(result.files)


def test_the_result_says_where_and_what(hub: Hub, server: FakeHub) -> None:
    """Folder, commit, files and their bytes; the files hold what the repository has."""
    result = pull(REPO, Span(2, 3), hub=hub)

    assert result == PullResult(hub.folder(REPO, COMMIT), COMMIT, result.files, result.bytes)
    contents = {name: (result.folder / name).read_bytes() for name in result.files}
    assert contents == {name: files_of(server)[name] for name in result.files}
    assert result.bytes == sum(map(len, contents.values()))


def test_all_files_are_of_one_commit_even_if_the_branch_moves(hub: Hub, server: FakeHub) -> None:
    """The branch is resolved once; a push in mid-pull changes nothing."""
    repo = server.repos[REPO]
    repo.commits[LATER] = sharded(**dict.fromkeys(PARTS, b"later"))
    moved: list[str] = []

    def push(file: str, done: int, size: int | None) -> None:
        moved.append(file)
        repo.refs["main"] = LATER

    result = pull(REPO, Span(0, 1), hub=hub, progress=push)

    assert moved
    assert result.revision == COMMIT
    assert (result.folder / PARTS[0]).read_bytes() == repo.commits[COMMIT][PARTS[0]]
    assert not any(LATER in seen.path for seen in server.seen)
    assert sum(seen.path.endswith("/revision/main") for seen in server.seen) == 1


def test_a_revision_is_followed(hub: Hub, server: FakeHub) -> None:
    """A tag leads to its own commit and to its own folder."""
    server.repos[REPO].commits[LATER] = sharded(**{PARTS[2]: b"tagged"})
    server.repos[REPO].refs["v2"] = LATER

    result = pull(REPO, Span(2, 3), revision="v2", hub=hub)

    assert result.revision == LATER
    assert (result.folder / PARTS[2]).read_bytes() == b"tagged"


def test_a_second_pull_fetches_nothing(hub: Hub, server: FakeHub) -> None:
    """And gives the same result."""
    first = pull(REPO, Span(1, 3), hub=hub)
    server.seen.clear()

    assert pull(REPO, Span(1, 3), hub=hub) == first
    assert server.fetched() == []


def test_another_span_adds_only_what_is_missing(hub: Hub, server: FakeHub) -> None:
    """Spans of one commit share a folder."""
    pull(REPO, Span(1, 3), hub=hub)
    server.seen.clear()

    pull(REPO, Span(2, 4), hub=hub)

    assert server.fetched() == [PARTS[3]]


def test_a_folder_of_ones_own_is_used(hub: Hub, tmp_path: Path) -> None:
    """--to DIR."""
    result = pull(REPO, Span(2, 3), to=tmp_path / "mine", hub=hub)

    assert result.folder == tmp_path / "mine"
    assert (tmp_path / "mine" / PARTS[2]).is_file()


def test_offline_a_pulled_span_is_found(hub: Hub, server: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same result, without a request; a span that was not pulled is refused by name."""
    online = pull(REPO, Span(0, 1), hub=hub)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    server.seen.clear()

    assert pull(REPO, Span(0, 1), hub=hub) == online
    with pytest.raises(HubOffline) as caught:
        pull(REPO, Span(3, 4), hub=hub)
    assert caught.value.wanted == PARTS[3]
    assert server.seen == []


def test_a_pulled_span_can_be_served(hub: Hub, server: FakeHub, tmp_path: Path) -> None:
    """Of a real checkpoint in several files, the files that were pulled are enough to load the span."""
    shape = RandomShape(
        num_hidden_layers=4, hidden_size=16, intermediate_size=32, num_attention_heads=2, num_key_value_heads=1,
        vocab_size=64, max_position_embeddings=32,
    )  # fmt: skip
    source = write_random_model(tmp_path / "source", shape, max_file_bytes=8192)
    server.repos[REPO].commits[COMMIT] = {path.name: path.read_bytes() for path in source.iterdir()}

    result = pull(REPO, Span(1, 2), hub=hub)

    assert FloatEngine.from_folder(result.folder, Span(1, 2)).span == Span(1, 2)
    assert len(weights(list(result.files))) < len(list(source.glob("*.safetensors")))
    with pytest.raises(TensorMissing):
        FloatEngine.from_folder(result.folder, Span(0, 1))
