"""Models: found, named, pickled, and missing."""

import copy
import os
import pickle
import shutil
import subprocess
import sys

import pytest

import llmzip


def test_the_default_model():
    model = llmzip.Model.default()
    assert model == llmzip.Model.open("default")
    assert (model.label, len(model.digest)) == ("default", 64)
    assert repr(model) == f"<llmzip.Model 'default' {model.digest[:12]}>"
    with pytest.raises(TypeError, match="open"):
        llmzip.Model()


def test_a_model_in_a_folder(small_model, text):
    model = llmzip.Model.open(small_model)
    assert model != llmzip.Model.default()
    assert len({model, llmzip.Model.open(str(small_model))}) == 1
    archive = llmzip.compress(text[:300], model=model)
    assert archive == llmzip.compress(text[:300], model=str(small_model))
    assert llmzip.decompress(archive, model=model) == text[:300]
    assert llmzip.decompress(archive, model=small_model) == text[:300]
    tokens = llmzip.bits(text[:300], model)
    assert b"".join(token for token, _ in tokens) == text[:300]


def test_the_wrong_model(small_model, text):
    archive = llmzip.compress(text[:300], model=small_model, mix=False)
    digest = llmzip.Model.open(small_model).digest
    for model in (None, llmzip.Model.default(), "seed:gru:64:1"):
        with pytest.raises(llmzip.ModelMissingError, match=digest):
            llmzip.decompress(archive, model=model)
    # One that is given and not needed does no harm.
    assert llmzip.decompress(llmzip.compress(text[:300]), model=small_model) == text[:300]


def test_an_imported_model_is_found(small_model, text, tmp_path, monkeypatch):
    archive = llmzip.compress(text[:300], model=small_model, mix=False)
    monkeypatch.setenv("LLMZIP_MODEL_DIR", str(tmp_path))
    run = [sys.executable, "-m", "llmzip", "models", "import", str(small_model), "--name", "tiny"]
    imported = subprocess.run(run, capture_output=True, text=True)
    if imported.returncode == 2:
        run = run[:-2]
        imported = subprocess.run(run, capture_output=True, text=True)
    assert imported.returncode == 0, imported.stderr
    assert llmzip.decompress(archive) == text[:300]
    restored = pickle.loads(pickle.dumps(llmzip.Model.open(small_model)))
    assert restored == llmzip.Model.open(small_model)


def test_a_model_from_a_seed(text):
    model = llmzip.Model.open("seed:gru:64:1")
    archive = llmzip.compress(text[:2000], model=model)
    assert llmzip.decompress(archive) == text[:2000]  # it draws the model itself
    assert pickle.loads(pickle.dumps(model)) == model


@pytest.mark.parametrize(
    "name, error",
    [
        ("no-such-org/no-such-model", llmzip.ModelMissingError),
        ("no-such-model", llmzip.ModelMissingError),
        ("./no-such-folder", llmzip.InvalidArgumentError),
        ("seed:gru:0:1", llmzip.InvalidArgumentError),
        ("", llmzip.InvalidArgumentError),
    ],
)
def test_names_of_no_model(name, error):
    with pytest.raises(error):
        llmzip.Model.open(name)


def test_a_folder_that_is_no_model(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises((llmzip.InvalidModelError, OSError)):
        llmzip.Model.open(tmp_path)


def test_pickles_have_names_and_no_weights(small_model, tmp_path, monkeypatch):
    folder = tmp_path / "moved"
    shutil.copytree(small_model, folder)
    monkeypatch.chdir(tmp_path)
    model = llmzip.Model.open("moved")
    pickled = pickle.dumps(model)
    assert len(pickled) < 400
    monkeypatch.chdir("/")
    assert pickle.loads(pickled) == model == copy.copy(model)
    os.rename(folder, tmp_path / "gone")
    with pytest.raises(llmzip.ModelMissingError):
        pickle.loads(pickled)
    shutil.copytree(small_model, folder)
    config = (folder / "config.json").read_bytes()
    (folder / "config.json").write_bytes(config + b"\n")  # another digest
    with pytest.raises(llmzip.ModelMissingError, match="expected " + model.digest):
        pickle.loads(pickled)
