"""Damage, and what is said of it. No damage gives wrong bytes."""

import io
import pickle
from pathlib import Path

import pytest

import llmzip

GOLDEN = Path(__file__).parents[2] / "tests" / "golden"


def read_forward(archive):
    return llmzip.open(io.BytesIO(archive)).read()


def read_by_index(archive):
    file = llmzip.open(io.BytesIO(archive))
    file.seek(3)
    file.seek(1500)
    tail = file.read()
    file.seek(0)
    return file.read(1500) + tail


@pytest.mark.parametrize("read", [llmzip.decompress, read_forward, read_by_index])
def test_every_cut_is_noticed(read, archive):
    for length in [*range(0, 60), *range(60, len(archive), 41), len(archive) - 1]:
        with pytest.raises((llmzip.TruncatedError, llmzip.NotAnArchiveError)) as raised:
            read(archive[:length])
        if length >= 8:
            assert isinstance(raised.value, EOFError), length


@pytest.mark.parametrize("read", [llmzip.decompress, read_forward, read_by_index])
def test_no_flipped_bit_gives_wrong_bytes(read, text, archive):
    for place in [*range(0, 40), *range(40, len(archive), 37), *range(len(archive) - 50, len(archive))]:
        damaged = bytearray(archive)
        damaged[place] ^= 0x10
        try:
            assert read(bytes(damaged)) == text  # where this way does not look
        except llmzip.LlmzipError:
            continue
        assert read is read_by_index


def test_good_bytes_come_before_the_exception(text, archive):
    damaged = bytearray(archive)
    index = llmzip.ChunkIndex(io.BytesIO(archive))
    damaged[index[3].offset + index[3].length - 2] ^= 1
    file = llmzip.open(io.BytesIO(bytes(damaged)), threads=1)
    assert file.read(2500) == text[:2500]
    with pytest.raises(llmzip.CorruptError, match="chunk 3"):
        file.read()
    with pytest.raises(llmzip.CorruptError, match="chunk 3"):
        file.read()
    file.seek(5000)  # behind it
    assert file.read(100) == text[5000:5100]


def test_no_archive():
    for data in (b"PK\3\4 something", b"plain text", b"\x1f\x8b\x08"):
        with pytest.raises(llmzip.NotAnArchiveError):
            llmzip.decompress(data)
        with pytest.raises(llmzip.NotAnArchiveError):
            llmzip.open(io.BytesIO(data)).read(1)
        with pytest.raises(llmzip.NotAnArchiveError):
            llmzip.ChunkIndex(io.BytesIO(data))


def test_trailing_data(text, archive):
    assert llmzip.decompress(archive + b"\0" * 100) == text  # padding
    with pytest.raises(llmzip.TrailingDataError):
        llmzip.decompress(archive + b"junk")
    file = llmzip.open(io.BytesIO(archive + b"junk"))
    assert file.read(len(text)) == text
    with pytest.raises(llmzip.TrailingDataError):
        file.read()


def test_a_newer_format():
    newer = sorted(GOLDEN.glob("unsupported-*.llmz"))
    assert newer
    for path in newer:
        kind = llmzip.UnsupportedError
        if "-model-" in path.name:
            kind = llmzip.ModelMissingError
        with pytest.raises(kind):
            llmzip.decompress(path.read_bytes())


def test_golden_archives_that_are_bad():
    bad = sorted(GOLDEN.glob("bad-*.llmz"))
    assert bad
    for path in bad:
        with pytest.raises(llmzip.LlmzipError):
            llmzip.decompress(path.read_bytes())


def test_the_limit_on_output():
    bomb = llmzip.compress(b"\0" * 200_000, level=1)
    assert len(bomb) < 1000
    with pytest.raises(llmzip.LimitExceededError, match="199999"):
        llmzip.decompress(bomb, max_output=199_999)
    assert len(llmzip.decompress(bomb, max_output=200_000)) == 200_000


def test_exceptions_have_one_base():
    named = [getattr(llmzip, name) for name in llmzip.__all__ if name.endswith("Error")]
    assert len(named) == 11
    for error in named:
        assert issubclass(error, llmzip.LlmzipError)
        assert error.__module__ == "llmzip"
        assert pickle.loads(pickle.dumps(error("said"))).args == ("said",)
    assert issubclass(llmzip.TruncatedError, EOFError)
    assert issubclass(llmzip.InvalidArgumentError, ValueError)
    assert issubclass(llmzip.MemoryExceededError, MemoryError)
    assert not issubclass(llmzip.LlmzipError, OSError)
