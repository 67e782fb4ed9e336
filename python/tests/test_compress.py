"""compress, decompress and bits."""

import array

import pytest

import llmzip


@pytest.mark.parametrize("level", range(1, 10))
def test_all_levels_restore(level, text):
    short = text[:1500]
    archive = llmzip.compress(short, level=level)
    assert len(archive) < len(short)
    assert llmzip.decompress(archive) == short


@pytest.mark.parametrize(
    "data", [b"", b"x", bytes(range(256)), "ünïcode ☃".encode("utf-16"), b"\0" * 900]
)
def test_any_bytes_restore(data):
    assert llmzip.decompress(llmzip.compress(data)) == data


@pytest.mark.parametrize(
    "options",
    [
        {"chunk_size": 400},
        {"lanes": 3},
        {"mix": False},
        {"prefix": b"id,name\n"},
        {"learn": "head"},
        {"learn": "all", "lanes": 2},
        {"learn": "adapter", "lanes": 2},
        {"verify": False},
        {"threads": 1},
    ],
)
def test_options_restore(options, text):
    assert llmzip.decompress(llmzip.compress(text[:900], **options)) == text[:900]


def test_threads_change_no_byte(text):
    archives = {llmzip.compress(text, level=4, chunk_size=900, threads=n) for n in (1, 2, 5)}
    assert len(archives) == 1


def test_buffers_go_in(text):
    archive = llmzip.compress(text, level=1)
    for same in (bytearray(text), memoryview(text), memoryview(bytearray(text))):
        assert llmzip.compress(same, level=1) == archive
    numbers = array.array("d", [1.5, 2.5, 3.5])
    assert llmzip.decompress(llmzip.compress(numbers, level=1)) == numbers.tobytes()
    for same in (bytearray(archive), memoryview(archive)):
        assert llmzip.decompress(same) == text
    assert type(llmzip.decompress(bytearray(archive))) is bytes


def test_a_buffer_with_gaps_is_refused(text):
    with pytest.raises(BufferError, match="contiguous"):
        llmzip.compress(memoryview(text)[::2])


@pytest.mark.parametrize("data", ["text", None, 7, [1, 2]])
def test_other_objects_are_refused(data):
    with pytest.raises(TypeError):
        llmzip.compress(data)
    with pytest.raises(TypeError):
        llmzip.decompress(data)


@pytest.mark.parametrize(
    "options",
    [
        {"level": 0},
        {"level": 10},
        {"level": -300},
        {"level": 2**40},
        {"chunk_size": 0},
        {"chunk_size": 2**40},
        {"lanes": 0},
        {"lanes": 65},
        {"lanes": 300},
        {"learn": "some"},
        {"threads": 0},
        {"threads": -1},
        {"context": 12},
    ],
)
def test_options_out_of_range(options):
    with pytest.raises(llmzip.InvalidArgumentError, match=list(options)[0]) as raised:
        llmzip.compress(b"text", **options)
    assert isinstance(raised.value, ValueError)
    assert isinstance(raised.value, llmzip.LlmzipError)


def test_an_option_that_is_none():
    with pytest.raises(TypeError, match="levle"):
        llmzip.compress(b"text", levle=3)


def test_joined_archives_are_joined_content(text, archive):
    assert llmzip.decompress(archive + archive) == text + text


def test_bits(text):
    tokens = llmzip.bits(text)
    assert b"".join(token for token, _ in tokens) == text
    assert all(bits >= 0 for _, bits in tokens)
    # A chunk of one lane, by the language model alone, takes as many.
    archive = llmzip.compress(text, level=9, lanes=1, mix=False)
    assert sum(bits for _, bits in tokens) / 8 == pytest.approx(len(archive), abs=40)


def test_bits_of_text_and_of_none():
    assert llmzip.bits("naïve") == llmzip.bits("naïve".encode())
    assert llmzip.bits("") == []
    surprising = dict(llmzip.bits("the same the same the same the same zebra"))
    assert surprising[b" z"] if b" z" in surprising else max(surprising.values()) > 5
