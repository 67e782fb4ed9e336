"""open and LlmzipFile: what gzip's own tests ask of a file."""

import gc
import io
import os
import pathlib
import tarfile

import pytest

import llmzip


def opened(archive: bytes, **options):
    return llmzip.open(io.BytesIO(archive), **options)


def test_a_path_round_trip(tmp_path, text):
    for path in (tmp_path / "a.llmz", str(tmp_path / "b.llmz"), os.fsencode(tmp_path / "c.llmz")):
        with llmzip.open(path, "wb", level=1) as file:
            assert (file.writable(), file.readable(), file.seekable()) == (True, False, False)
            assert file.write(text) == len(text)
            assert file.tell() == len(text)
        with llmzip.open(path) as file:
            assert (file.writable(), file.readable(), file.seekable()) == (False, True, True)
            assert file.read() == text
            assert file.read() == b""
        assert file.closed
        with open(path, "rb") as raw:
            assert llmzip.decompress(raw.read()) == text


def test_written_in_pieces_is_written_at_once(text, archive):
    for size in (1, 999, 1000, 1001, len(text)):
        raw = io.BytesIO()
        with llmzip.open(raw, "wb", level=1, chunk_size=1000) as file:
            for start in range(0, len(text), size):
                file.write(memoryview(text)[start : start + size])
        assert raw.getvalue() == archive
        assert not raw.closed


def test_writelines_and_lines(text):
    raw = io.BytesIO()
    with llmzip.open(raw, "wb", level=1, chunk_size=1000) as file:
        file.writelines(text.splitlines(keepends=True))
    with opened(raw.getvalue()) as file:
        assert list(file) == text.splitlines(keepends=True)


def test_append_and_exclusive(tmp_path):
    path = tmp_path / "log.llmz"
    for part in ("one\n", "two\n"):
        with llmzip.open(path, "at", level=1, encoding="utf-8") as file:
            file.write(part)
    with llmzip.open(path, "rt", encoding="utf-8") as file:
        assert file.read() == "one\ntwo\n"
    with pytest.raises(FileExistsError):
        llmzip.open(path, "xb")
    with llmzip.open(tmp_path / "new.llmz", "x", level=1) as file:
        file.write(b"new")
    assert llmzip.open(tmp_path / "new.llmz").read() == b"new"


def test_nothing_written_is_an_archive_of_nothing():
    raw = io.BytesIO()
    llmzip.open(raw, "wb").close()
    assert llmzip.decompress(raw.getvalue()) == b""
    assert opened(raw.getvalue()).read() == b""


@pytest.mark.parametrize("mode", ["", "z", "rw", "rbt", "r+", "wbb", "U", "tb"])
def test_modes_that_are_none(mode, tmp_path):
    with pytest.raises(ValueError):
        llmzip.open(tmp_path / "x", mode)
    assert not (tmp_path / "x").exists()


def test_options_of_text_are_for_text(tmp_path):
    for option in ("encoding", "errors", "newline"):
        with pytest.raises(ValueError, match=option):
            llmzip.open(tmp_path / "x", "wb", **{option: ""})


def test_options_are_checked_before_the_file_is_touched(tmp_path):
    path = tmp_path / "kept"
    path.write_bytes(b"kept")
    with pytest.raises(TypeError):
        llmzip.open(path, "wb", levle=1)
    with pytest.raises(llmzip.LlmzipError):
        llmzip.open(path, "wb", model="no-such/model")
    assert path.read_bytes() == b"kept"


def test_text_mode(tmp_path):
    path = tmp_path / "x.llmz"
    with llmzip.open(path, "wt", level=1, encoding="utf-16-le", newline="\r\n") as file:
        file.write("ä\nb\n")
    assert llmzip.open(path).read() == "ä\r\nb\r\n".encode("utf-16-le")
    with llmzip.open(path, "rt", encoding="utf-16-le") as file:
        assert list(file) == ["ä\n", "b\n"]
    with llmzip.open(path, "rt", encoding="utf-16-le", newline="") as file:
        assert file.readline() == "ä\r\n"
    with llmzip.open(path, "rt", encoding="ascii", errors="ignore") as file:
        assert "b" in file.read()


def test_text_mode_seeks(text, archive):
    with opened(archive, mode="rt", encoding="utf-8") as file:
        file.readline()
        place = file.tell()
        second = file.readline()
        file.read()
        file.seek(place)
        assert file.readline() == second


def test_seek_and_tell(text, archive):
    with opened(archive) as file:
        for place in (0, 1, 999, 1000, 1001, 3500, len(text) - 1, 5, len(text), 0):
            assert file.seek(place) == place == file.tell()
            assert file.read(7) == text[place : place + 7]
        assert file.seek(-6, io.SEEK_END) == len(text) - 6
        assert file.read() == text[-6:]
        file.seek(1200)
        assert file.seek(-500, io.SEEK_CUR) == 700
        assert file.read(1000) == text[700:1700]
        assert file.seek(len(text) + 100) == len(text) + 100
        assert file.read() == b""
        with pytest.raises(ValueError):
            file.seek(-1)
        with pytest.raises(ValueError):
            file.seek(0, 7)


def test_any_seek_reads_what_is_there(text, archive):
    """Each pair of places, after reading forward or not: the block, the decoder and the index agree."""
    places = [0, 3, 998, 1000, 2001, 4500, len(text) - 2]
    for first in places:
        for second in places:
            with opened(archive) as file:
                for place in (first, second):
                    file.seek(place)
                    assert file.read(1200) == text[place : place + 1200]
                assert file.read() == text[second + 1200 :]


def test_asking_for_the_length_costs_nothing_of_the_reading(text, archive):
    with opened(archive) as file:
        assert file.read(10) == text[:10]
        file.seek(0, io.SEEK_END)
        file.seek(10)
        assert file.read() == text[10:]


def test_seeks_over_joined_archives(text, archive):
    joined = archive + llmzip.compress(b"one more chunk", level=1) + archive
    whole = text + b"one more chunk" + text
    with opened(joined) as file:
        for place in (len(whole) - 9, len(text) + 2, len(text) - 2, 1500):
            file.seek(place)
            assert file.read(20) == whole[place : place + 20]
        file.seek(0)
        assert file.read() == whole


def test_an_archive_inside_a_file(text, archive):
    raw = io.BytesIO(b"some header" + archive)
    raw.seek(11)
    with llmzip.open(raw) as file:
        file.seek(2500)
        assert file.read(10) == text[2500:2510]
        file.seek(0)
        assert file.read() == text
    raw.seek(11)
    assert llmzip.ChunkIndex(raw)[0].plain_start == 0
    assert raw.tell() == 11


def test_reading_in_all_ways(text, archive):
    with opened(archive) as file:
        buffer = bytearray(1500)
        assert file.readinto(buffer) == 1500
        assert buffer == text[:1500]
        assert 0 < file.readinto1(buffer) <= 1500
        file.seek(1500)
        assert file.peek(1)[:1] == text[1500:1501]
        piece = file.read1(100)
        assert piece == text[1500 : 1500 + len(piece)] and piece
        file.seek(0)
        assert file.readline() == text[: text.index(b"\n") + 1]
        assert file.readline(4) == text.splitlines()[1][:4]
        file.seek(0)
        assert file.readlines() == text.splitlines(keepends=True)
        assert (file.read(0), file.read(None)) == (b"", b"")


def test_a_file_that_cannot_seek(text, archive, pipe):
    with llmzip.open(pipe(archive)) as file:
        assert not file.seekable()
        assert file.read(10) == text[:10]
        with pytest.raises(io.UnsupportedOperation):
            file.seek(0)
        assert file.read() == text[10:]
    with pytest.raises(OSError):
        llmzip.ChunkIndex(pipe(archive))


def test_writing_needs_nothing_but_write(text):
    class Sink:
        def __init__(self):
            self.data = b""

        def write(self, data):
            self.data += data

    sink = Sink()
    with llmzip.open(sink, "wb", level=1) as file:
        file.write(text)
        file.flush()
    assert llmzip.decompress(sink.data) == text


def test_short_writes_are_gone_on_with(text):
    class Short(io.RawIOBase):
        data = b""

        def writable(self):
            return True

        def write(self, data):
            self.data += bytes(data[:13])
            return min(len(data), 13)

    short = Short()
    with llmzip.open(short, "wb", level=1) as file:
        file.write(text)
    assert llmzip.decompress(short.data) == text


def test_the_wrong_way(archive, tmp_path):
    with opened(archive) as file, pytest.raises(io.UnsupportedOperation):
        file.write(b"x")
    with llmzip.open(io.BytesIO(), "wb") as file:
        for call in (file.read, file.readline, file.peek, lambda: file.seek(0)):
            with pytest.raises(io.UnsupportedOperation):
                call()
    with pytest.raises(TypeError, match="path or a file object"):
        llmzip.open(7)
    with pytest.raises(FileNotFoundError):
        llmzip.open(tmp_path / "none")


def test_a_closed_file(archive):
    for file in (opened(archive), llmzip.open(io.BytesIO(), "wb")):
        file.close()
        file.close()
        for call in (file.read, file.tell, file.readable, lambda: file.write(b""), file.__enter__):
            with pytest.raises(ValueError, match="closed"):
                call()
        assert "closed" in repr(file)


def test_a_file_that_is_forgotten_is_complete(tmp_path):
    path = pathlib.Path(tmp_path, "x.llmz")
    llmzip.open(path, "wb", level=1).write(b"forgotten")
    gc.collect()
    assert llmzip.open(path).read() == b"forgotten"


def test_exceptions_of_the_file_come_through(archive):
    class Odd(Exception):
        pass

    class Broken(io.BytesIO):
        def read(self, *_):
            raise Odd("no")

        def write(self, *_):
            raise Odd("no")

    with pytest.raises(Odd):
        llmzip.open(Broken(archive)).read()
    with pytest.raises(Odd):
        llmzip.ChunkIndex(Broken(archive))
    file = llmzip.open(Broken(), "wb", level=1)
    file.write(b"x")
    with pytest.raises(Odd):
        file.close()
    assert file.closed


def test_a_raw_file_that_would_wait(archive):
    class Waiting(io.RawIOBase):
        def readable(self):
            return True

        def readinto(self, buffer):
            return None

        def write(self, data):
            return None

    with pytest.raises(BlockingIOError):
        llmzip.open(Waiting()).read()
    file = llmzip.open(Waiting(), "wb", level=1)
    with pytest.raises(BlockingIOError):
        file.close()


def test_an_index_that_is_cut_off_does_not_harm_the_reading(text, archive):
    file = opened(archive[:-5])
    assert file.read(10) == text[:10]
    with pytest.raises(llmzip.TruncatedError):
        file.seek(0, io.SEEK_END)
    assert file.read(len(text) - 10) == text[10:]
    with pytest.raises(llmzip.TruncatedError):
        file.read(1)


def test_a_failed_write_is_the_last(text):
    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(28, "No space left on device")

    raw = Full()
    with pytest.raises(OSError, match="No space"), llmzip.open(raw, "wb", level=1, chunk_size=9) as file:
        for _ in range(100_000):
            file.write(text)
    with pytest.raises(ValueError, match="closed"):
        file.write(b"x")


def test_tar_files(text):
    raw = io.BytesIO()
    with llmzip.open(raw, "wb", level=1) as file, tarfile.open(fileobj=file, mode="w|") as tar:
        info = tarfile.TarInfo("a")
        info.size = len(text)
        tar.addfile(info, io.BytesIO(text))
    raw.seek(0)
    with llmzip.open(raw) as file, tarfile.open(fileobj=file) as tar:
        assert tar.extractfile("a").read() == text


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_is_an_os_error(text):
    import errno

    file = llmzip.open("/dev/full", "wb", level=1)
    file.write(text)
    with pytest.raises(OSError) as raised:
        file.close()
    assert raised.value.errno == errno.ENOSPC
    assert file.closed


def test_the_index(text, archive):
    index = llmzip.ChunkIndex(io.BytesIO(archive))
    assert len(index) == -(-len(text) // 1000)
    assert index.plain_length == len(text)
    assert list(index) == list(index.chunks)
    end, plain_end = index[0].offset, 0
    for chunk in index:
        assert (chunk.offset, chunk.plain_start) == (end, plain_end)
        assert chunk.method in ("stored", "model", "mixed", "adaptive")
        end, plain_end = end + chunk.length, plain_end + chunk.plain_length
    assert len(llmzip.ChunkIndex(io.BytesIO(llmzip.compress(b"")))) == 1
