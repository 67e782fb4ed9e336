"""Corpora without an engine: plans, cuts, parts, what is missing, and what goes wrong."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import llmzip
from llmzip import corpus
from llmzip.corpus import _storage
from llmzip.corpus.__main__ import main
from llmzip.corpus._parts import cut

ROOT = Path(__file__).parents[2]


@pytest.fixture
def inputs(tmp_path, text):
    """Three files, one empty and one without lines' ends, in folders."""
    folder = tmp_path / "in"
    (folder / "b").mkdir(parents=True)
    (folder / "a.txt").write_bytes(text)
    (folder / "b" / "empty").write_bytes(b"")
    (folder / "b" / "wide.bin").write_bytes(text[:4500].replace(b"\n", b" "))
    return folder


def work(out, numbers=None, **options):
    """Code parts in this process, and collect."""
    manifest = corpus.Manifest.load(str(out))
    ran = [corpus.run(str(out), n, **options) for n in numbers or range(len(manifest.parts))]
    return corpus.collect(str(out)), [is_new for _, is_new in ran]


def content(folder):
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_the_same_bytes_as_one_process(inputs, tmp_path):
    out = tmp_path / "out"
    planned = corpus.plan(str(inputs), str(out), level=1, part_size=2000)
    assert [source.name for source in planned.sources] == ["a.txt", "b/empty", "b/wide.bin"]
    order = list(range(len(planned.parts)))
    random.Random(1).shuffle(order)
    manifest, is_new = work(out, order)
    assert all(is_new) and manifest.missing == []
    assert manifest == corpus.Manifest.from_json((out / "manifest.json").read_bytes())
    assert corpus.join(str(out), str(tmp_path / "all.llmz")) == manifest.length
    joined = (tmp_path / "all.llmz").read_bytes()
    assert llmzip.decompress(joined) == content(inputs)
    parts = sorted(out.glob("*.llmz"))
    assert joined == b"".join(part.read_bytes() for part in parts)
    by_one = b""
    for part in manifest.parts:
        source = (inputs / manifest.sources[part.source].name).read_bytes()
        by_one += llmzip.compress(source[part.coded.start : part.coded.end], level=1)
    assert joined == by_one
    assert sorted(path.name for path in out.iterdir())[-1] == "manifest.json"
    assert len(list(out.iterdir())) == len(parts) + 1  # no records, no drafts
    assert manifest.plain_length == len(content(inputs))
    assert str(tmp_path).encode() not in joined


@pytest.mark.parametrize("part_size", [1, 7, 100, 1000, 10**6])
def test_cuts_are_at_line_ends_and_cover_everything(part_size, tmp_path, monkeypatch):
    monkeypatch.setattr("llmzip.corpus._parts._WINDOW", 16)
    chance = random.Random(part_size)
    for _ in range(20):
        lines = (b"x" * chance.randrange(60) + b"\n" for _ in range(chance.randrange(40)))
        text = b"".join(lines) + b"y" * chance.randrange(30)
        (tmp_path / "f").write_bytes(text)
        path, n = str(tmp_path / "f"), -(-len(text) // part_size)
        cuts = [cut(path, len(text), part_size, i) for i in range(n + 1)]
        assert cuts[0] == 0 and cuts[-1] == len(text)
        assert all(a < b for a, b in zip(cuts, cuts[1:]))
        for i, here in enumerate(cuts[1:-1], 1):
            before = text[(i - 1) * part_size : i * part_size]
            assert here == (i - 1) * part_size + before.rfind(b"\n") + 1 if b"\n" in before else (
                here == i * part_size
            )


def test_a_second_call_does_only_what_is_missing(inputs, tmp_path):
    out = tmp_path / "out"
    options = {"level": 1, "part_size": 2000}
    corpus.plan(str(inputs), str(out), **options)
    first, is_new = work(out)
    assert all(is_new)
    parts = sorted(out.glob("*.llmz"))
    before = {path.name: path.read_bytes() for path in parts}
    parts[1].unlink()
    parts[2].write_bytes(parts[2].read_bytes()[:-1])
    flipped = bytearray(parts[3].read_bytes())
    flipped[len(flipped) // 2] ^= 1
    parts[3].write_bytes(flipped)
    assert corpus.collect(str(out)).missing == [1, 2]
    assert corpus.collect(str(out), verify=True).missing == [1, 2, 3]
    assert len(corpus.plan(str(inputs), str(out), **options).missing) == 3
    _, is_new = work(out)
    assert [n for n, new in enumerate(is_new) if new] == [1, 2, 3]
    assert {path.name: path.read_bytes() for path in out.glob("*.llmz")} == before
    # A log that grew, and a source whose bytes changed in place.
    with open(inputs / "b" / "wide.bin", "ab") as file:
        file.write(b"more")
    changed = bytearray((inputs / "a.txt").read_bytes())
    changed[100] ^= 1
    (inputs / "a.txt").write_bytes(changed)
    corpus.plan(str(inputs), str(out), **options)
    manifest, is_new = work(out)
    assert [n for n, new in enumerate(is_new) if new] == [0, len(is_new) - 1]
    corpus.join(str(out), str(tmp_path / "all.llmz"))
    assert llmzip.decompress((tmp_path / "all.llmz").read_bytes()) == content(inputs)
    # And one that shrank: its last part goes.
    (inputs / "a.txt").write_bytes(changed[:3000])
    assert len(corpus.plan(str(inputs), str(out), **options).parts) < len(manifest.parts)
    work(out)
    assert len(list(out.glob("*.llmz"))) == len(corpus.Manifest.load(str(out)).parts)


def test_without_the_manifests_knowledge_records_tell(inputs, tmp_path):
    out = tmp_path / "out"
    planned = corpus.plan(str(inputs), str(out), level=1, part_size=2000)
    for number in (0, 2):
        corpus.run(str(out), number)
    assert corpus.Manifest.load(str(out)).missing == planned.missing  # whoever ran them died
    assert corpus.plan(str(inputs), str(out), level=1, part_size=2000).missing == planned.missing
    (out / planned.parts[2].record).write_bytes(b"{")
    manifest, is_new = work(out)
    assert [n for n, new in enumerate(is_new) if not new] == [0]
    assert manifest.missing == []


def test_unreadable_inputs_are_named_and_the_others_done(inputs, tmp_path):
    out, many = tmp_path / "out", tmp_path / "many"
    many.mkdir()
    for n in range(30):
        (many / f"{n:02}").write_bytes(b"%d ships passed\n" % n)
    (many / "07").unlink()
    os.symlink("nowhere", many / "07")
    (many / "11").unlink()
    (many / "11").mkdir()
    os.mkfifo(many / "11" / "pipe")
    paths = [str(path) for path in sorted(many.iterdir())]
    planned = corpus.plan(paths, str(out), level=1)
    manifest, _ = work(out)
    problems = corpus.failures(manifest)
    assert [problem.name for problem in problems] == ["07", "11/pipe"]
    assert "No such file" in str(problems[0]) and "regular" in str(problems[1])
    assert manifest.missing == [] and len(manifest.parts) == 28
    with pytest.raises(corpus.IncompleteError, match="2 failed, all others are done: 07: No such"):
        corpus.join(str(out), str(tmp_path / "all.llmz"))
    assert not (tmp_path / "all.llmz").exists()
    # Once they can be read, they are what is missing.
    for name in ("07", "11/pipe"):
        (many / name).unlink()
        (many / name).write_bytes(b"here now\n")
    corpus.plan(paths, str(out), level=1)
    _, is_new = work(out)
    assert sum(is_new) == 2
    assert corpus.join(str(out), str(tmp_path / "all.llmz"))
    assert llmzip.decompress((tmp_path / "all.llmz").read_bytes()) == content(many)
    # One that is gone leaves its part, and is named.
    (many / "03").unlink()
    gone = corpus.plan(paths, str(out), level=1)
    assert len(gone.parts) == len(planned.parts) + 2 and gone.missing == []
    assert [problem.name for problem in corpus.failures(gone)] == ["03"]


def test_a_source_that_shrinks_under_the_work(inputs, tmp_path):
    out = tmp_path / "out"
    corpus.plan(str(inputs), str(out), level=1, part_size=2000)
    (inputs / "a.txt").write_bytes(b"short")
    with pytest.raises(OSError, match="shorter now"):
        corpus.run(str(out), 2)
    assert [path.name for path in out.iterdir()] == ["manifest.json"]


def test_the_wrong_model_is_refused(inputs, small_model, tmp_path):
    out = tmp_path / "out"
    (inputs / "a.txt").write_bytes((inputs / "a.txt").read_bytes()[:600])
    corpus.plan([str(inputs / "a.txt")], str(out), level=4, model=str(small_model))
    digest = llmzip.Model.open(small_model).digest
    for model in (None, "default", "seed:gru:64:1", llmzip.Model.default()):
        with pytest.raises(llmzip.ModelMissingError, match=digest):
            corpus.run(str(out), 0, model=model)
    assert [path.name for path in out.iterdir()] == ["manifest.json"]
    coded, is_new = corpus.run(str(out), 0, model=str(small_model))
    assert is_new and corpus.collect(str(out)).missing == []
    with pytest.raises(corpus.ManifestError, match="model"):
        corpus.plan([str(inputs / "a.txt")], str(out), level=4)


def test_another_corpus_in_the_folder_is_refused(inputs, tmp_path):
    out = str(tmp_path / "out")
    a, wide = str(inputs / "a.txt"), str(inputs / "b" / "wide.bin")
    corpus.plan([a], out, level=1, part_size=2000)
    for paths, options, message in [
        ([a], {"level": 2, "part_size": 2000}, "level 1, expected 2"),
        ([a], {"level": 1, "part_size": 3000}, "part_size 2000, expected 3000"),
        ([a], {"level": 1, "part_size": 2000, "chunk_size": 1000}, "chunk_size None, expected 1000"),
        ([wide], {"level": 1, "part_size": 2000}, "a.txt, expected wide.bin"),
    ]:
        with pytest.raises(corpus.ManifestError, match=message):
            corpus.plan(paths, out, **options)
    with pytest.raises(ValueError, match="named twice"):
        corpus.plan([a, a], out, level=1, part_size=2000)
    with pytest.raises(ValueError, match="among the inputs"):
        corpus.plan([str(tmp_path)], out, level=1, part_size=2000)
    for bad in ({"level": 0}, {"level": 10}, {"part_size": 0}, {"part_size": 2 << 30}):
        with pytest.raises(ValueError, match="expected 1 to"):
            corpus.plan([a], str(tmp_path / "new"), **{"level": 1, **bad})
    assert not (tmp_path / "new").exists()
    # A version whose bytes may differ.
    manifest = corpus.Manifest.load(out).to_json().replace('"llmzip": "', '"llmzip": "9.')
    (tmp_path / "out" / "manifest.json").write_text(manifest)
    with pytest.raises(corpus.ManifestError, match="llmzip 9"):
        corpus.run(out, 0)


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"schema": True},
        {"level": "six"},
        {"part_size": 1 << 40},
        {"sources": [{"name": "../a", "length": 5}]},
        {"sources": [{"name": "/etc/passwd", "length": 5}]},
        {"sources": [{"name": ".llmzip-parts/a", "length": 5}]},
        {"sources": [{"name": "a", "length": -1}]},
        {"sources": None},
        {"parts": [{"name": "../x.llmz", "source": 0, "index": 0}]},
        {"parts": [{"name": "000009-000000.llmz", "source": 9, "index": 0}]},
        {"parts": [{"name": "000000-000000.llmz", "source": 0, "index": 0, "blake3": "0" * 64}]},
    ],
)
def test_a_damaged_manifest_is_refused(change, inputs, tmp_path):
    out = tmp_path / "out"
    corpus.plan(str(inputs), str(out), level=1)
    value = json.loads((out / "manifest.json").read_text()) | change
    (out / "manifest.json").write_text(json.dumps(value))
    with pytest.raises(corpus.ManifestError):
        corpus.Manifest.load(str(out))
    (out / "manifest.json").write_text("[" * 100_000)
    with pytest.raises(corpus.ManifestError):
        corpus.Manifest.load(str(out))


def test_restored(inputs, tmp_path):
    out, again = tmp_path / "out", tmp_path / "again"
    corpus.plan(str(inputs), str(out), level=1, part_size=2000)
    manifest, _ = work(out)
    numbers = range(len(manifest.parts))
    assert all(corpus.restore(str(out), n, str(again)) for n in numbers)
    assert not any(corpus.restore(str(out), n, str(again)) for n in numbers)
    for _ in range(2):
        for source in range(len(manifest.sources)):
            corpus.assemble(manifest, source, str(again))
        names = [path.relative_to(again) for path in sorted(again.rglob("*")) if path.is_file()]
        assert [str(name) for name in names] == ["a.txt", "b/empty", "b/wide.bin"]
        assert content(again) == content(inputs)
    assert not any(corpus.restore(str(out), n, str(again)) for n in numbers)
    (again / "a.txt").write_bytes(b"mine")
    with pytest.raises(FileExistsError, match="a.txt"):
        corpus.restore(str(out), 0, str(again))
    assert (again / "a.txt").read_bytes() == b"mine"
    damaged = bytearray((out / manifest.parts[-1].name).read_bytes())
    damaged[-1] ^= 1
    (out / manifest.parts[-1].name).write_bytes(damaged)
    (again / "b" / "wide.bin").unlink()
    with pytest.raises(llmzip.CorruptError, match=manifest.parts[-1].name):
        corpus.restore(str(out), numbers[-1], str(again))


def test_urls(inputs, tmp_path):
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    memory.put(str(inputs), "/in", recursive=True)
    try:
        options = {"level": 1, "part_size": 2000}
        planned = corpus.plan("memory://in", "memory://out", **options)
        assert [source.name for source in planned.sources] == ["a.txt", "b/empty", "b/wide.bin"]
        manifest, _ = work("memory://out")
        assert manifest.missing == []
        corpus.join("memory://out", str(tmp_path / "all.llmz"))
        assert llmzip.decompress((tmp_path / "all.llmz").read_bytes()) == content(inputs)
        corpus.join("memory://out", "memory://all.llmz")
        assert memory.cat_file("/all.llmz") == (tmp_path / "all.llmz").read_bytes()
        memory.rm_file("/out/" + manifest.parts[1].name)
        assert corpus.collect("memory://out").missing == [1]
        assert work("memory://out")[1].count(True) == 1
        for number in range(len(manifest.parts)):
            corpus.restore("memory://out", number, "memory://again")
        corpus.assemble(manifest, 0, "memory://again")
        assert memory.cat_file("/again/a.txt") == (inputs / "a.txt").read_bytes()
        local = corpus.plan(str(inputs), str(tmp_path / "local"), **options)
        work(tmp_path / "local")
        for part in local.parts:
            assert memory.cat_file("/out/" + part.name) == (tmp_path / "local" / part.name).read_bytes()
        with pytest.raises(ValueError, match="several file systems"):
            corpus.plan([str(inputs), "memory://in"], str(tmp_path / "both"), level=1)
    finally:
        memory.store.clear()


def test_files_appear_whole(tmp_path):
    path = str(tmp_path / "file")
    _storage.write(path, b"before")
    with pytest.raises(KeyError):
        with _storage.create(path) as file:
            file.write(b"half")
            raise KeyError
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("file", b"before")]


def corpus_command(*arguments, **options):
    command = [sys.executable, "-m", "llmzip.corpus", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, **options)


def test_recipe_of_shells(inputs, tmp_path):
    out = tmp_path / "out"
    planned = corpus_command("plan", out, inputs, "--level", 1, "--part-size", "2K")
    assert (planned.returncode, planned.stderr) == (0, "")
    n = int(planned.stdout)
    assert n == len(corpus.Manifest.load(str(out)).parts) == 6
    assert corpus_command("run", out, *range(0, n, 2)).returncode == 0  # as a Slurm array of two
    checked = corpus_command("check", out)
    assert (checked.returncode, checked.stdout.split()) == (1, ["1", "3", "5"])
    joined = corpus_command("join", out, tmp_path / "all.llmz")
    assert joined.returncode == 1 and "3 failed" in joined.stderr
    recipe = f"{sys.executable} -m llmzip.corpus check {out} | xargs -P2 -n1 {sys.executable} -m llmzip.corpus run {out}"
    assert subprocess.run(["sh", "-c", recipe]).returncode == 0
    assert corpus_command("check", "--read", out).stdout == ""
    joined = corpus_command("join", out, tmp_path / "all.llmz")
    assert joined.stdout == f"{(tmp_path / 'all.llmz').stat().st_size:,} bytes\n"
    assert llmzip.decompress((tmp_path / "all.llmz").read_bytes()) == content(inputs)

@pytest.mark.parametrize(
    "typed, code, message",
    [
        ("run out 6", 2, "numbered 0 to 5"),
        ("run out -1", 2, "numbered 0 to 5"),
        ("run none 0", 1, "No such file"),
        ("run out 0 5", 1, "000000-000000.llmz: "),
        ("plan out in --level 2 --part-size 2K", 1, "level 1, expected 2"),
        ("plan new in -m no-such-model", 3, "no-such-model"),
        ("plan new in --level 11", 2, "expected 1 to 9"),
        ("plan new in none --level 1", 1, "1 failed, all others are done: none: No such file"),
        ("estimate none", 1, ""),
        ("estimate in --levels 1 2 --sample 1K", 0, ""),
    ],
)
def test_commands_that_fail_say_why(typed, code, message, inputs, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    corpus.plan("in", "out", level=1, part_size=2000)
    (inputs / "a.txt").write_bytes(b"short")
    assert main(typed.replace(" -1", " -- -1").split()) == code
    said = capsys.readouterr()
    assert message in said.err
    assert code or said.out.count("core hours") == 2


def test_killed_while_it_writes(tmp_path, text):
    """SIGKILL at many times: a part is whole or not there, and the next run does what is missing."""
    source, out = tmp_path / "text", tmp_path / "out"
    source.write_bytes(text * 20)
    n = len(corpus.plan([str(source)], str(out), level=1, part_size=20_000).parts)
    command = [sys.executable, "-m", "llmzip.corpus", "run", str(out), *map(str, range(n))]
    kills = 0
    for delay in (0.3, 0.5, 0.7, 0.9):
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
        for part in out.glob("*.llmz"):
            assert text * 20 == source.read_bytes() and llmzip.decompress(part.read_bytes())
    assert kills
    manifest, _ = work(out)
    assert manifest.missing == [] and not list(out.glob(".llmzip-*"))
    by_one = [
        llmzip.compress((text * 20)[part.coded.start : part.coded.end], level=1)
        for part in manifest.parts
    ]
    assert [path.read_bytes() for path in sorted(out.glob("*.llmz"))] == by_one
