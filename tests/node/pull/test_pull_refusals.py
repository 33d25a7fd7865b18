"""What a pull refuses, before it asks for a single weight."""

from pathlib import Path

import pytest

from node import pull as pulling
from node.hub import Hub
from node.pull import INDEX, pull, shards_of
from node.pull_errors import FileMissing, FileTooLarge, IndexRefused, NoSafetensors, PullError
from sharding.errors import ConfigError, IndexLies, ShardingError, SpanError, UnsupportedModel
from sharding.span import Span
from sharding.spec import ModelSpec
from sharding.weight_files import locate
from tests.node.pull.fake_hub import FakeHub
from tests.node.pull.slate import COMMIT, CONFIG, NEVER, PARTS, REPO, as_json, files_of, publish, weight_map, weights


@pytest.fixture(autouse=True)
def _model(server: FakeHub) -> None:
    publish(server)


@pytest.mark.parametrize("blocks", ["0:5", "3:5", "4:5", "9:10"])
def test_a_span_outside_the_model_is_refused_before_any_weight(hub: Hub, server: FakeHub, blocks: str) -> None:
    """The small config.json is enough to know."""
    with pytest.raises(SpanError):
        pull(REPO, Span.parse(blocks), hub=hub)
    assert server.fetched() == ["config.json"]


@pytest.mark.parametrize(
    ("config", "error"),
    [
        (b"{", ConfigError),
        (as_json(CONFIG | {"model_type": "mamba", "architectures": ["MambaForCausalLM"]}), UnsupportedModel),
        (as_json(CONFIG | {"auto_map": {"AutoModel": "modeling_slate.Slate"}}), ShardingError),
        (as_json(CONFIG | {"num_hidden_layers": 10**9}), ShardingError),
    ],
)
def test_a_model_that_cannot_be_served_is_refused_before_any_weight(
    hub: Hub, server: FakeHub, config: bytes, error: type[Exception]
) -> None:
    """Hours of download are not spent on it."""
    files_of(server)["config.json"] = config
    with pytest.raises(error):
        pull(REPO, hub=hub)
    assert server.fetched() == ["config.json"]


def test_weights_in_other_formats_only_are_refused_before_anything(hub: Hub, server: FakeHub) -> None:
    """Nothing is fetched, and the message names what was seen."""
    server.repos[REPO].commits[COMMIT] = {"config.json": as_json(CONFIG), **NEVER}
    with pytest.raises(NoSafetensors, match=r"pytorch_model\.bin"):
        pull(REPO, hub=hub)
    assert server.fetched() == []


def test_a_missing_config_is_named(hub: Hub, server: FakeHub) -> None:
    """Weights without a config are no model."""
    del files_of(server)["config.json"]
    with pytest.raises(FileMissing) as caught:
        pull(REPO, hub=hub)
    assert caught.value.file == "config.json"


def test_a_missing_part_is_named_before_any_weight(hub: Hub, server: FakeHub) -> None:
    """An incomplete upload is noticed from the list of files."""
    del files_of(server)[PARTS[3]]
    with pytest.raises(FileMissing) as caught:
        pull(REPO, hub=hub)
    assert caught.value.file == PARTS[3]
    assert weights(server.fetched()) == []


def test_a_missing_part_of_another_span_does_not_matter(hub: Hub, server: FakeHub) -> None:
    """Only what the span needs has to be there."""
    del files_of(server)[PARTS[3]]

    assert PARTS[0] in pull(REPO, Span(0, 1), hub=hub).files


def test_a_part_that_is_listed_and_not_there_is_named(hub: Hub, server: FakeHub) -> None:
    """The list may promise what the store does not have."""
    del files_of(server)[PARTS[2]]
    server.repos[REPO].unlisted.add(PARTS[2])
    with pytest.raises(FileMissing) as caught:
        pull(REPO, Span(2, 3), hub=hub)
    assert caught.value.file == PARTS[2]


def test_an_index_with_path_tricks_is_refused_before_any_weight(hub: Hub, server: FakeHub) -> None:
    """The names in the index come from a stranger."""
    places = weight_map() | {"model.layers.2.mlp.up_proj.weight": "../" + PARTS[2]}
    files_of(server)[INDEX] = as_json({"weight_map": places})

    with pytest.raises(IndexRefused):
        pull(REPO, Span(2, 3), hub=hub)
    assert weights(server.fetched()) == []


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the model's config.json and nothing else yet."""
    (tmp_path / "config.json").write_bytes(as_json(CONFIG))
    return tmp_path


def shards_by(folder: Path, index: bytes) -> tuple[str, ...]:
    (folder / INDEX).write_bytes(index)
    return shards_of(folder / INDEX, ModelSpec.from_folder(folder), Span(2, 3))


@pytest.mark.parametrize(
    "file",
    [
        "../model.safetensors", "/etc/model.safetensors", "sub/model.safetensors", "..\\model.safetensors",
        "C:model.safetensors", "~/model.safetensors", ".safetensors", "..safetensors", "a\0.safetensors",
        "a\n.safetensors", "a.safetensors\n", "x" * 201 + ".safetensors", "größe.safetensors", "a b.safetensors",
        "", ".", "..", "pytorch_model.bin", "modeling_slate.py", INDEX,
    ],
)  # fmt: skip
def test_only_a_safetensors_file_beside_the_index_may_hold_weights(folder: Path, file: str) -> None:
    """The loader would refuse all of these as well."""
    index = as_json({"weight_map": weight_map() | {"model.layers.2.mlp.up_proj.weight": file}})

    with pytest.raises(IndexRefused):
        shards_by(folder, index)
    with pytest.raises(IndexLies):
        locate(folder, ["model.layers.2.mlp.up_proj.weight"])


@pytest.mark.parametrize(
    "file", ["a.safetensors", "model-00001-of-00002.safetensors", "A_b.c-9.safetensors", "x" * 200 + ".safetensors"]
)
def test_what_the_loader_takes_is_taken(folder: Path, file: str) -> None:
    """Pull and loader agree on what a file of weights may be called."""
    (folder / file).touch()

    assert shards_by(folder, as_json({"weight_map": dict.fromkeys(weight_map(), file)})) == (file,)
    assert list(locate(folder, weight_map())) == [folder / file]


@pytest.mark.parametrize(
    "index",
    [
        b"", b"{", b"\xff\xfe", b"null", b"[]", b"{}", as_json({"weight_map": []}), as_json({"weight_map": None}),
        as_json({"weight_map": {"model.norm.weight": 3}}), as_json({"weight_map": {"model.norm.weight": ["a"]}}),
        b"[" * 200_000, b'{"weight_map": {}, "weight_map": {}}',
    ],
)  # fmt: skip
def test_an_index_that_is_none_is_refused(folder: Path, index: bytes) -> None:
    """Whatever the bytes are, the error is the same."""
    with pytest.raises(IndexRefused):
        shards_by(folder, index)


def test_an_index_that_lacks_a_tensor_is_refused(hub: Hub, server: FakeHub) -> None:
    """The message names the tensor; another span is not concerned."""
    places = weight_map()
    del places["model.layers.2.mlp.up_proj.weight"]
    files_of(server)[INDEX] = as_json({"weight_map": places})

    with pytest.raises(IndexRefused, match=r"model\.layers\.2\.mlp\.up_proj\.weight"):
        pull(REPO, hub=hub)
    assert pull(REPO, Span(3, 4), hub=hub).revision == COMMIT


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", INDEX])
def test_small_files_are_small(hub: Hub, server: FakeHub, name: str) -> None:
    """At the limit it is fetched, one byte past it is not."""
    server.repos[REPO].sizes[name] = pulling.MAX_SMALL_BYTES
    pull(REPO, Span(2, 3), hub=hub)
    server.repos[REPO].sizes[name] += 1

    with pytest.raises(FileTooLarge) as caught:
        pull(REPO, Span(2, 3), hub=hub)

    assert (caught.value.file, caught.value.size) == (name, pulling.MAX_SMALL_BYTES + 1)


def test_every_error_says_what_to_do_next() -> None:
    """Each leaf's text goes on after the fact, with a semicolon and a piece of advice."""
    leaves = [
        FileTooLarge("f", 2, 1), NoSafetensors(REPO, []), IndexRefused(Path(INDEX), "no"), FileMissing(REPO, "f", "v1"),
    ]  # fmt: skip
    assert all(isinstance(leaf, PullError) and "; " in str(leaf) for leaf in leaves)
