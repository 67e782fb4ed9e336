"""What stands beside a model: low-rank adapters and steering vectors."""

import io
import json
import pickle
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

import llmzip

GOLDEN = Path(__file__).parents[2] / "tests" / "golden"
ADAPTER = GOLDEN / "adapter"


def program(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "llmzip", *map(str, arguments)],
        capture_output=True,
        check=True,
        **options,
    ).stdout


@pytest.fixture
def vectors(tmp_path) -> Path:
    """A file of two steering vectors for the model that comes with the package."""
    width = json.loads((Path(__file__).parents[2] / "models/default/config.json").read_bytes())["hidden_size"]
    values = [(i * 37 % 101 - 50) / 400 for i in range(2 * width)]
    data = struct.pack(f"<{len(values)}f", *values)
    header = {
        "__metadata__": {"model": llmzip.Model.default().digest},
        "steering": {"dtype": "F32", "shape": [2, width], "data_offsets": [0, len(data)]},
    }
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    path = tmp_path / "two.steer"
    path.write_bytes(struct.pack("<Q", len(head)) + head + data)
    return path


def test_an_adapter(text, tmp_path):
    short, options = text[:400], {"adapter": ADAPTER, "mix": False}
    archive = llmzip.compress(short, **options)
    assert archive != llmzip.compress(short, mix=False)
    assert archive == program("-c", "--no-mix", "--adapter", ADAPTER, input=short)
    assert llmzip.decompress(archive, adapter=str(ADAPTER)) == short
    with pytest.raises(llmzip.ModelMissingError, match="the archive needs adapter 'adapter'"):
        llmzip.decompress(archive)
    # A level that runs no model needs none, and one that is not needed does no harm.
    assert llmzip.decompress(llmzip.compress(short, level=1, adapter=ADAPTER)) == short
    assert llmzip.decompress(llmzip.compress(short), adapter=ADAPTER) == short
    with llmzip.open(tmp_path / "a.llmz", "wb", **options) as file:
        file.write(short)
    assert (tmp_path / "a.llmz").read_bytes() == archive
    with llmzip.open(tmp_path / "a.llmz", adapter=ADAPTER) as file:
        assert (file.seek(100), file.read()) == (100, short[100:])
    tokens, bare = llmzip.bits(short, adapter=ADAPTER), llmzip.bits(short)
    assert b"".join(token for token, _ in tokens) == short
    assert tokens != bare


def test_a_model_with_an_adapter(text, tmp_path, monkeypatch):
    short = text[:400]
    model, bare = llmzip.Model.open("default", adapter=ADAPTER), llmzip.Model.default()
    assert bare.adapter is None
    assert len(model.adapter) == 64
    assert model.digest == bare.digest
    assert model != bare
    assert len({model, bare, llmzip.Model.open("default", adapter=str(ADAPTER))}) == 2
    assert repr(model).endswith(f" with adapter {model.adapter[:12]}>")
    archive = llmzip.compress(short, model=model, mix=False)
    assert archive == llmzip.compress(short, adapter=ADAPTER, mix=False)
    assert llmzip.decompress(archive, model=model) == short
    # Archives without the adapter, by the same model.
    assert llmzip.decompress(llmzip.compress(short, mix=False), model=model) == short
    pickled = pickle.dumps(model)
    assert pickle.loads(pickled) == model
    assert len(pickled) < 500
    shutil.copytree(ADAPTER, tmp_path / "other")
    config = tmp_path / "other" / "adapter_config.json"
    other = llmzip.Model.open("default", adapter=tmp_path / "other")
    assert other == model
    pickled = pickle.dumps(other)
    config.write_bytes(config.read_bytes() + b"\n")
    with pytest.raises(llmzip.ModelMissingError, match=f"expected {model.adapter}"):
        pickle.loads(pickled)
    from llmzip.corpus._manifest import Coding

    with pytest.raises(ValueError, match="adapter"):
        Coding.new(6, model, 1 << 20, None, None)


def test_an_imported_adapter_is_found(text, tmp_path, monkeypatch):
    monkeypatch.setenv("LLMZIP_MODEL_DIR", str(tmp_path))
    program("models", "import", ADAPTER)
    archive = llmzip.compress(text[:300], adapter="adapter", mix=False)
    assert llmzip.decompress(archive) == text[:300]


@pytest.mark.parametrize(
    "name, error",
    [
        ("no-such-adapter", llmzip.ModelMissingError),
        ("./none", llmzip.InvalidArgumentError),
        (GOLDEN / "no-window", (llmzip.InvalidModelError, OSError)),
    ],
)
def test_adapters_that_are_none(name, error):
    for call in (
        lambda: llmzip.compress(b"text", adapter=name),
        lambda: llmzip.Model.open("default", adapter=name),
        lambda: llmzip.bits("text", adapter=name),
    ):
        with pytest.raises(error):
            call()


def test_a_recurrent_model_takes_no_adapter():
    with pytest.raises(llmzip.InvalidArgumentError, match="recurrent"):
        llmzip.compress(b"text", model="seed:gru:64:1", adapter=ADAPTER)


def test_steering_vectors(text, vectors, tmp_path, monkeypatch):
    short, options = text[:400], {"steer": vectors, "mix": False}
    archive = llmzip.compress(short, **options)
    assert archive != llmzip.compress(short, mix=False)
    assert archive == program("-c", "--no-mix", "--steer", vectors, input=short)
    assert llmzip.decompress(archive, steer=vectors) == short
    with pytest.raises(llmzip.ModelMissingError, match="two.steer"):
        llmzip.decompress(archive)
    buffer = io.BytesIO()
    with llmzip.open(buffer, "wb", **options) as file:
        file.write(short)
    assert buffer.getvalue() == archive
    with llmzip.open(io.BytesIO(archive), steer=str(vectors)) as file:
        assert file.read() == short
    monkeypatch.setenv("LLMZIP_MODEL_DIR", str(tmp_path / "store"))
    program("models", "import", vectors)
    assert llmzip.decompress(archive) == short


def test_drawn_steering_vectors(text):
    short = text[:400]
    archive = llmzip.compress(short, steer_random=(3, 7), mix=False)
    assert archive == program("-c", "--no-mix", "--steer-random", "3:7", input=short)
    assert llmzip.decompress(archive) == short
    drawn = [llmzip.compress(short, steer_random=n, mix=False) for n in (3, (3, 0), (2, 0))]
    assert drawn[0] == drawn[1] != drawn[2]


def test_steering_vectors_that_are_none(vectors, small_model, tmp_path):
    for options, error in [
        ({"steer": "none"}, llmzip.ModelMissingError),
        ({"steer": "./none"}, llmzip.InvalidArgumentError),
        ({"steer": __file__}, llmzip.InvalidModelError),
        ({"steer": vectors, "steer_random": 2}, llmzip.InvalidArgumentError),
        ({"steer": vectors, "model": small_model}, llmzip.InvalidArgumentError),
        ({"steer_random": 0}, llmzip.InvalidArgumentError),
        ({"steer_random": 65}, llmzip.InvalidArgumentError),
        ({"steer_random": -1}, llmzip.InvalidArgumentError),
        ({"steer_random": 2, "model": "seed:gru:64:1"}, llmzip.InvalidArgumentError),
    ]:
        with pytest.raises(error):
            llmzip.compress(b"some text", **options)
    with pytest.raises(llmzip.ModelMissingError):
        llmzip.decompress(llmzip.compress(b"text"), steer="none")
