"""fsspec and those who open files by it, numcodecs, WebDataset. Each is skipped where it is not installed."""

import array
import io
import json
import pickle
import subprocess
import sys
import tarfile

import pytest

import llmzip


@pytest.fixture
def csv(tmp_path, table):
    path = tmp_path / "table.csv.llmz"
    path.write_bytes(llmzip.compress(table, level=1, chunk_size=1000))
    return path


@pytest.mark.parametrize(
    "imports",
    [
        "import llmzip, fsspec",
        "import fsspec, llmzip",
        "import llmzip, fsspec.compression",
        "import fsspec, llmzip; import importlib; importlib.reload(llmzip)",
    ],
)
def test_registered_whoever_comes_first(imports, csv, table):
    pytest.importorskip("fsspec")
    script = (
        f"{imports}\n"
        "import fsspec, sys\n"
        f"with fsspec.open({str(csv)!r}, compression='infer') as file:\n"
        "    sys.stdout.buffer.write(file.read())\n"
        "assert type(fsspec.compression.__spec__.loader).__name__ == 'SourceFileLoader'\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, table, b"")


@pytest.mark.parametrize("suffix", [".llmz", ".LLMZ"])
@pytest.mark.parametrize("compression", ["infer", "llmzip"])
def test_fsspec_writes_and_reads(tmp_path, suffix, compression):
    fsspec = pytest.importorskip("fsspec")
    path = str(tmp_path / ("x.txt" + suffix))
    with fsspec.open(path, "wt", compression=compression, encoding="utf-8") as file:
        file.write("ships\nsails\n")
    with open(path, "rb") as file:
        assert llmzip.decompress(file.read()) == b"ships\nsails\n"
    with fsspec.open(path, "rt", compression=compression, encoding="utf-8") as file:
        assert file.readlines() == ["ships\n", "sails\n"]
    with fsspec.open("memory://x" + suffix, "wb", compression=compression) as file:
        file.write(b"in memory")
    with fsspec.open("memory://x" + suffix, "rb", compression=compression) as file:
        file.seek(3)
        assert file.read() == b"memory"


def test_fsspec_open_files(tmp_path, table):
    fsspec = pytest.importorskip("fsspec")
    for number in range(3):
        (tmp_path / f"{number}.llmz").write_bytes(llmzip.compress(table, level=1))
    files = fsspec.open_files(str(tmp_path / "*.llmz"), compression="infer")
    assert len(files) == 3
    for opened in files:
        with opened as file:
            assert file.read() == table


def test_pandas(csv, table):
    pandas = pytest.importorskip("pandas")
    fsspec = pytest.importorskip("fsspec")
    expected = pandas.read_csv(io.BytesIO(table))
    by_url = pandas.read_csv(f"local://{csv}", storage_options={"compression": "infer"})
    assert by_url.equals(expected)
    assert pandas.read_csv(f"llmzip://table.csv::{csv}").equals(expected)
    with fsspec.open(csv, compression="infer") as file:
        assert pandas.read_csv(file).equals(expected)
    with llmzip.open(csv) as file:
        assert pandas.read_csv(file).equals(expected)
    with llmzip.open(csv, "rt", encoding="utf-8") as file:
        assert sum(map(len, pandas.read_csv(file, chunksize=100))) == len(expected)
    with llmzip.open(csv, "wt", level=1, encoding="utf-8") as file:
        expected.to_csv(file, index=False)
    assert llmzip.open(csv).read() == table


def test_polars(csv, table):
    polars = pytest.importorskip("polars")
    with llmzip.open(csv) as file:
        assert polars.read_csv(file).equals(polars.read_csv(io.BytesIO(table)))


def test_dask(tmp_path, table):
    pytest.importorskip("dask")
    bag = pytest.importorskip("dask.bag")
    for number in range(2):
        (tmp_path / f"{number}.csv.llmz").write_bytes(llmzip.compress(table, level=1))
    lines = bag.read_text(str(tmp_path / "*.csv.llmz"), compression="infer")
    assert lines.compute(scheduler="sync") == table.decode().splitlines(keepends=True) * 2


@pytest.mark.parametrize("imports", ["import fsspec", "import llmzip, fsspec"])
def test_a_filesystem_without_importing_llmzip(imports, csv, table):
    pytest.importorskip("fsspec")
    url = f"llmzip://table.csv::{csv}"
    script = (
        f"{imports}\n"
        "import sys\n"
        f"with fsspec.open({url!r}) as file:\n"
        "    file.seek(1500)\n"
        "    sys.stdout.buffer.write(file.read())\n"
        f"fs, path = fsspec.url_to_fs({url!r})\n"
        f"assert fs.info(path)['size'] == {len(table)}\n"
        "assert fs.ls('', detail=False) == ['table.csv'] and fs.cat(path)[:2] == b'id'\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, table[1500:], b"")


def test_a_filesystem_has_one_file_and_is_read_only(csv):
    fsspec = pytest.importorskip("fsspec")
    with pytest.raises(FileNotFoundError):
        fsspec.open(f"llmzip://other.csv::{csv}").open()
    with pytest.raises((ValueError, NotImplementedError)):
        fsspec.open(f"llmzip://table.csv::{csv}", "wb").open()
    assert pickle.loads(pickle.dumps(fsspec.open(f"llmzip://table.csv::{csv}"))).open().read(2) == b"id"


def test_datasets_streaming(csv, table):
    datasets = pytest.importorskip("datasets")
    streamed = datasets.load_dataset(
        "csv", data_files={"train": f"llmzip://table.csv::{csv}"}, split="train", streaming=True
    )
    assert [row["id"] for row in streamed] == list(range(300))
    rows = datasets.IterableDataset.from_generator(
        lambda path: ({"line": line} for line in llmzip.open(path, "rt", encoding="utf-8")),
        gen_kwargs={"path": str(csv)},
    )
    assert "".join(row["line"] for row in rows) == table.decode()


def codecs():
    pytest.importorskip("numcodecs")
    from llmzip.numcodecs import LLMZip

    return [LLMZip(level=1), LLMZip(level=3), LLMZip(), LLMZip(level=4, model="default")]


def arrays():
    numpy = pytest.importorskip("numpy")
    chance = numpy.random.default_rng(1)
    yield numpy.arange(300, dtype="i4")
    yield numpy.linspace(0, 1, 100, dtype="f8").reshape(5, 20)
    yield numpy.asfortranarray(numpy.arange(60, dtype="u2").reshape(3, 20))
    yield chance.integers(0, 255, 100, dtype="u1").reshape(2, 5, 10)
    yield chance.integers(0, 2, 50) > 0
    yield numpy.array([b"foo", b"bar", b"bazqux"])
    yield chance.integers(0, 10**6, 20).astype("M8[s]")
    yield numpy.zeros(1)


def test_numcodecs_finds_the_codec():
    numcodecs = pytest.importorskip("numcodecs")
    codec = numcodecs.get_codec({"id": "llmzip", "level": 2})
    assert codec.get_config() == {"id": "llmzip", "level": 2, "model": None}


def test_numcodecs_encodes_and_decodes():
    """The checks of numcodecs' own tests of its codecs."""
    numpy = pytest.importorskip("numpy")
    for codec in codecs():
        for values in arrays():
            order = "F" if values.flags.f_contiguous else "C"
            as_bytes = values.tobytes(order="A")
            encoded = codec.encode(values)
            for buffer in (as_bytes, bytearray(as_bytes), array.array("b", as_bytes)):
                assert codec.encode(buffer) == encoded
            for same in (
                encoded,
                bytearray(encoded),
                array.array("b", encoded),
                numpy.frombuffer(encoded, "u1"),
            ):
                decoded = numpy.frombuffer(codec.decode(same), values.dtype)
                assert (decoded.reshape(values.shape, order=order) == values).all()
            out = numpy.empty_like(values)
            codec.decode(encoded, out=out)
            assert (out == values).all()
            for out in (bytearray(len(as_bytes)), array.array("b", bytes(len(as_bytes)))):
                codec.decode(encoded, out=out)
                assert bytes(out) == as_bytes
            with pytest.raises(ValueError):
                codec.decode(encoded, out=bytearray(len(as_bytes) - 1))


def test_numcodecs_config_repr_and_pickle():
    numcodecs = pytest.importorskip("numcodecs")
    import llmzip.numcodecs as module

    for codec in codecs():
        config = json.loads(json.dumps(codec.get_config()))
        assert numcodecs.get_codec(config) == codec
        assert eval(repr(codec), vars(module)) == codec
        assert pickle.loads(pickle.dumps(codec)) == codec


def test_numcodecs_refuses_damage():
    for codec in codecs():
        with pytest.raises(llmzip.LlmzipError):
            codec.decode(codec.encode(b"some text to be read")[:-1])
        for other in ("text", 3):
            with pytest.raises(TypeError):
                codec.encode(other)


def test_webdataset(tmp_path, text):
    webdataset = pytest.importorskip("webdataset")
    from llmzip.webdataset import llmzfilter

    shard = tmp_path / "shard-0.tar"
    with tarfile.open(shard, "w") as tar:
        for number in range(3):
            for suffix, data in [("txt.llmz", llmzip.compress(text[:99], level=1)), ("cls", b"7")]:
                info = tarfile.TarInfo(f"{number}.{suffix}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    samples = list(webdataset.WebDataset(str(shard), shardshuffle=False).decode(pre=[llmzfilter]))
    assert len(samples) == 3
    for sample in samples:
        assert sample["txt.llmz"] == text[:99].decode()
        assert sample["cls"] == 7


def test_webdataset_shards_by_the_program(tmp_path, text):
    webdataset = pytest.importorskip("webdataset")
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        info = tarfile.TarInfo("0.txt")
        info.size = 50
        tar.addfile(info, io.BytesIO(text[:50]))
    shard = tmp_path / "shard-0.tar.llmz"
    shard.write_bytes(llmzip.compress(raw.getvalue(), level=1))
    url = f"pipe:{sys.executable} -m llmzip -dc {shard}"
    samples = list(webdataset.WebDataset(url, shardshuffle=False).decode())
    assert [sample["txt"] for sample in samples] == [text[:50].decode()]
