"""Examples in docstrings and in the guide, as tests."""

import doctest
import importlib
from pathlib import Path

import pytest

import llmzip
import llmzip.corpus

ROOT = Path(__file__).parents[2]
MODULES = {
    "llmzip": None,
    "llmzip._compress": None,
    "llmzip._file": None,
    "llmzip._index": None,
    "llmzip._model": None,
    "llmzip._filesystem": "fsspec",
    "llmzip.corpus._estimate": None,
    "llmzip.corpus._parts": None,
    "llmzip.fsspec": "fsspec",
    "llmzip.numcodecs": "numcodecs",
    "llmzip.webdataset": "webdataset",
}


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    if MODULES[name] is not None:
        pytest.importorskip(MODULES[name])
    module = importlib.import_module(name)
    result = doctest.testmod(module, extraglobs={"llmzip": llmzip})
    assert result.attempted > 0
    assert result.failed == 0


def test_all_that_is_public_has_a_docstring():
    for module in (llmzip, llmzip.corpus):
        for name in module.__all__:
            assert getattr(module, name).__doc__, name


def test_the_page_on_corpora(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = doctest.testfile(
        str(ROOT / "docs/corpora.md"), module_relative=False, globs={"llmzip": llmzip}
    )
    assert result.attempted > 5
    assert result.failed == 0


def test_the_guide(tmp_path, monkeypatch):
    pytest.importorskip("pandas")
    pytest.importorskip("fsspec")
    pytest.importorskip("numcodecs")
    monkeypatch.chdir(tmp_path)
    result = doctest.testfile(str(ROOT / "docs/python.md"), module_relative=False)
    assert result.attempted > 10
    assert result.failed == 0
