"""Corpora on a local Ray cluster: actors, nodes and drivers that die. Run by `just everywhere`; CI has no Ray."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

ray = pytest.importorskip("ray")

import llmzip  # noqa: E402
import llmzip.ray  # noqa: E402
from llmzip import corpus  # noqa: E402

PART = 3000
OPTIONS = {"level": 6, "part_size": PART}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("in")
    (folder / "sub").mkdir()
    (folder / "a.txt").write_bytes(text)
    (folder / "b.txt").write_bytes(text[2000:4100])
    (folder / "empty").write_bytes(b"")
    (folder / "sub" / "c.txt").write_bytes(text[::-1])
    return folder


@pytest.fixture(scope="module")
def expected(inputs, tmp_path_factory):
    """All parts as one process makes them, one after the other."""
    out = str(tmp_path_factory.mktemp("one") / "out")
    manifest = corpus.plan(str(inputs), out, **OPTIONS)
    for number in range(len(manifest.parts)):
        corpus.run(out, number)
    parts = corpus.collect(out).parts
    by_buffer = b""
    for part in parts:
        plain = (inputs / manifest.sources[part.source].name).read_bytes()
        by_buffer += llmzip.compress(plain[part.coded.start : part.coded.end])
    coded = {part.name: Path(out, part.name).read_bytes() for part in parts}
    assert by_buffer == b"".join(coded.values())
    return coded


@pytest.fixture(scope="module")
def cluster():
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=80 << 20, logging_level="error")
    yield
    ray.shutdown()


def coded_in(out):
    return {path.name: path.read_bytes() for path in sorted(out.glob("*.llmz"))}


def workers(root, doing="do"):
    """The processes below `root` that are actors at work."""
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError):
            stat = (folder / "stat").read_text()
            parents[int(folder.name)] = int(stat.rsplit(")", 1)[1].split()[1])
    found = []
    for pid in parents:
        above = pid
        while above in parents and above != root:
            above = parents[above]
        with contextlib.suppress(OSError):
            title = Path(f"/proc/{pid}/cmdline").read_bytes()
            if above == root and title.startswith(b"ray::_Worker." + doing.encode()):
                found.append(pid)
    return found


def wait_for(condition, seconds=120):
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end
        time.sleep(0.01)
    return value


class Call(threading.Thread):
    """A call in a thread of its own, that something happens to."""

    def __init__(self, *arguments, **options):
        super().__init__()
        self.arguments, self.options, self.error, self.report = arguments, options, None, None
        self.start()

    def run(self):
        try:
            self.report = llmzip.ray.compress(*self.arguments, **self.options)
        except Exception as error:
            self.error = error


def test_the_same_bytes_as_one_process(cluster, inputs, expected, tmp_path):
    out = tmp_path / "out"
    report = llmzip.ray.compress(inputs, out, **OPTIONS)
    assert report.coded == list(range(len(expected)))
    assert report.manifest == corpus.Manifest.load(str(out))
    assert coded_in(out) == expected
    again = llmzip.ray.compress([str(inputs)], str(out), workers=1, **OPTIONS)
    assert again.coded == [] and again.manifest == report.manifest
    joined = b"".join(expected.values())
    content = b"".join(path.read_bytes() for path in sorted(inputs.rglob("*")) if path.is_file())
    assert llmzip.decompress(joined) == content
    assert sorted(path.name for path in out.iterdir()) == [*sorted(expected), "manifest.json"]


def test_an_actor_killed_in_the_middle_then_the_same_call(cluster, inputs, expected, tmp_path):
    out = tmp_path / "out"
    call = Call(inputs, out, workers=1, retries=0, **OPTIONS)
    wait_for(lambda: len(list(out.glob("*.llmz"))) >= 2)
    os.kill(wait_for(lambda: workers(os.getpid()))[0], signal.SIGKILL)
    call.join()
    assert isinstance(call.error, corpus.IncompleteError)
    [failure] = call.error.failures
    assert "died 1 times" in failure.error
    there = coded_in(out)
    assert failure.part not in there and len(there) == len(expected) - 1  # all others are done
    assert all(expected[name] == part for name, part in there.items())
    times = {path.name: path.stat().st_mtime_ns for path in out.glob("*.llmz")}
    report = llmzip.ray.compress(inputs, out, **OPTIONS)
    assert [report.manifest.parts[number].name for number in report.coded] == [failure.part]
    assert coded_in(out) == expected
    assert all((out / name).stat().st_mtime_ns == when for name, when in times.items())


def test_an_actor_killed_is_replaced(cluster, inputs, expected, tmp_path):
    out = tmp_path / "out"
    call = Call(inputs, out, workers=2, **OPTIONS)
    for n in (1, 3):
        wait_for(lambda: len(list(out.glob("*.llmz"))) >= n)
        os.kill(wait_for(lambda: workers(os.getpid()))[0], signal.SIGKILL)
    call.join()
    assert call.error is None and sorted(call.report.coded) == list(range(len(expected)))
    assert coded_in(out) == expected
    assert not list(out.glob(".llmzip-*"))


def test_a_part_that_always_ends_its_actor_is_given_up(cluster, inputs, tmp_path):
    out = tmp_path / "out"
    call = Call([inputs / "b.txt"], out, workers=1, retries=1, level=6)
    for _ in range(2):
        pid = wait_for(lambda: workers(os.getpid()))[0]
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda: not os.path.exists(f"/proc/{pid}"))
    call.join()
    assert isinstance(call.error, corpus.IncompleteError) and "died 2 times" in str(call.error)
    assert coded_in(out) == {} and corpus.Manifest.load(str(out)).missing == [0]


def test_a_driver_killed_in_the_middle(cluster, inputs, expected, tmp_path):
    out = tmp_path / "out"
    script = (
        "import ray, llmzip.ray\n"
        "ray.init(num_cpus=1, include_dashboard=False, object_store_memory=80 << 20)\n"
        f"llmzip.ray.compress({str(inputs)!r}, {str(out)!r}, 6, part_size={PART})"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("RAY_")}
    driver = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL, env=environment)
    wait_for(lambda: len(list(out.glob("*.llmz"))) >= 2)
    driver.kill()
    driver.wait()
    before = set(coded_in(out))
    time.sleep(1)  # its actors may end a part yet
    report = llmzip.ray.compress(inputs, out, **OPTIONS)
    assert coded_in(out) == expected
    coded = {report.manifest.parts[number].name for number in report.coded}
    assert coded and not coded & before


def test_a_wrong_model_digest(cluster, inputs, small_model, tmp_path):
    folder, out = tmp_path / "model", tmp_path / "out"
    shutil.copytree(small_model, folder)
    model = llmzip.Model.open(folder)
    inputs = inputs / "b.txt"
    report = llmzip.ray.compress(inputs, tmp_path / "right", 4, model, part_size=1000)
    assert len(report.coded) == 3
    config = (folder / "config.json").read_bytes()
    (folder / "config.json").write_bytes(config + b"\n")
    with pytest.raises(llmzip.ModelMissingError, match=model.digest):
        llmzip.ray.compress(inputs, out, 4, model, part_size=1000)
    assert [path.name for path in out.iterdir()] == ["manifest.json"]
    with pytest.raises(llmzip.ModelMissingError, match=model.digest):
        llmzip.ray.decompress(tmp_path / "right", tmp_path / "again", folder)
    (folder / "config.json").write_bytes(config)
    llmzip.ray.compress(inputs, out, 4, model, part_size=1000)
    assert coded_in(out) == coded_in(tmp_path / "right")
    llmzip.ray.decompress(out, tmp_path / "again", folder)
    assert (tmp_path / "again" / "b.txt").read_bytes() == inputs.read_bytes()


def test_an_unreadable_input_among_many(cluster, tmp_path):
    many, out = tmp_path / "many", tmp_path / "out"
    many.mkdir()
    paths = [many / f"{n:03}" for n in range(40)]
    for path in paths:
        path.write_bytes(path.name.encode() * 50)
    paths[17].unlink()
    with pytest.raises(corpus.IncompleteError) as raised:
        llmzip.ray.compress(paths, out, 1)
    assert [(failure.name, failure.part) for failure in raised.value.failures] == [("017", None)]
    assert "No such file" in str(raised.value)
    assert len(coded_in(out)) == 39 and corpus.Manifest.load(str(out)).missing == []
    with pytest.raises(corpus.IncompleteError, match="017"):
        llmzip.ray.decompress(out, tmp_path / "again")
    assert len(list((tmp_path / "again").iterdir())) == 39
    paths[17].write_bytes(b"here again")
    assert len(llmzip.ray.compress(paths, out, 1).coded) == 1
    llmzip.ray.decompress(out, tmp_path / "again")
    assert (tmp_path / "again" / "017").read_bytes() == b"here again"


def test_restored(cluster, inputs, expected, tmp_path):
    out, again = tmp_path / "out", tmp_path / "again"
    manifest = corpus.plan(str(inputs), str(out), **OPTIONS)
    for name, part in expected.items():
        (out / name).write_bytes(part)
    with pytest.raises(corpus.IncompleteError, match="missing"):
        llmzip.ray.decompress(out, again)  # the manifest knows of none
    shutil.rmtree(again)
    for number in range(len(manifest.parts)):
        corpus.run(str(out), number)
    manifest = corpus.collect(str(out))
    damaged = out / manifest.parts[-1].name
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(corpus.IncompleteError, match="1 failed.*damaged"):
        llmzip.ray.decompress(out, again)
    assert not (again / "sub" / "c.txt").exists()
    damaged.write_bytes(expected[damaged.name])
    assert llmzip.ray.decompress(out, again).coded == [len(expected) - 1]
    assert llmzip.ray.decompress(out, again).coded == []
    found = {path.relative_to(again) for path in again.rglob("*") if path.is_file()}
    assert found == {path.relative_to(inputs) for path in inputs.rglob("*") if path.is_file()}
    assert all((again / name).read_bytes() == (inputs / name).read_bytes() for name in found)
    (again / "b.txt").write_bytes(b"mine")
    with pytest.raises(corpus.IncompleteError, match="b.txt is there, with other bytes"):
        llmzip.ray.decompress(out, again)
    assert (again / "b.txt").read_bytes() == b"mine"


def test_parts_are_read_by_ray_data(cluster, inputs, expected, tmp_path):
    pytest.importorskip("pyarrow")
    for name, part in expected.items():
        (tmp_path / name).write_bytes(part)
    parts = ray.data.read_binary_files(str(tmp_path), file_extensions=["llmz"], concurrency=1)
    lines = parts.flat_map(
        lambda row: [{"line": line} for line in llmzip.decompress(row["bytes"]).splitlines()]
    )
    content = b"".join(path.read_bytes() for path in sorted(inputs.rglob("*")) if path.is_file())
    assert sorted(row["line"] for row in lines.iter_rows()) == sorted(content.splitlines())


def test_a_node_that_goes_and_a_part_that_is_lost(inputs, expected, tmp_path):
    """Last: it has a cluster of its own, of three nodes."""
    from ray.cluster_utils import Cluster

    ray.shutdown()
    few = {"object_store_memory": 80 << 20}
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **few})
    try:
        going = nodes.add_node(num_cpus=1, **few)
        nodes.add_node(num_cpus=1, **few)
        ray.init(address=nodes.address, logging_level="error")
        out = tmp_path / "out"
        call = Call(inputs, out, **OPTIONS)
        wait_for(lambda: len(list(out.glob("*.llmz"))) >= 1)
        nodes.remove_node(going, allow_graceful=False)
        call.join()
        assert call.error is None, call.error
        assert coded_in(out) == expected
        lost = sorted(expected)[2]
        (out / lost).unlink()
        report = llmzip.ray.compress(inputs, out, **OPTIONS)
        assert [report.manifest.parts[number].name for number in report.coded] == [lost]
        assert coded_in(out) == expected
    finally:
        ray.shutdown()
        nodes.shutdown()
