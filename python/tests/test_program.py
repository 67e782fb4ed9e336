"""The program in the wheel, and the same bytes from the program built by Cargo."""

import os
import pty
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest

import llmzip

ROOT = Path(__file__).parents[2]
SCRIPT = Path(sysconfig.get_path("scripts"), "llmzip")


def run(*arguments, command=(str(SCRIPT),), **options):
    return subprocess.run([*command, *arguments], capture_output=True, **options)


@pytest.mark.parametrize("command", [[str(SCRIPT)], [sys.executable, "-m", "llmzip"]])
def test_round_trip_and_help(command, tmp_path, text):
    (tmp_path / "a").write_bytes(text)
    assert run("-1", "a", command=command, cwd=tmp_path).returncode == 0
    assert llmzip.open(tmp_path / "a.llmz").read() == text
    done = run("-dc", "a.llmz", command=command, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, text)
    done = run("--help", command=command)
    assert done.returncode == 0
    assert b"Usage: llmzip" in done.stdout
    done = run("--version", command=command)
    assert done.stdout.startswith(b"llmzip ")
    assert run("-1", command=command, input=text).stdout == llmzip.compress(text, level=1)


def test_exit_codes(tmp_path, text, archive, small_model):
    (tmp_path / "a").write_bytes(text)
    (tmp_path / "cut.llmz").write_bytes(archive[:-9])
    needs = llmzip.compress(text[:300], model=small_model, mix=False)
    (tmp_path / "model.llmz").write_bytes(needs)
    (tmp_path / "newer.llmz").write_bytes(
        sorted((ROOT / "tests/golden").glob("unsupported-*.llmz"))[0].read_bytes()
    )
    for code, arguments in [
        (0, ["-1", "a"]),
        (1, ["-d", "none.llmz"]),
        (2, ["--no-such-option"]),
        (2, ["-15", "a"]),
        (3, ["-t", "model.llmz"]),
        (4, ["-t", "cut.llmz"]),
        (5, ["-t", "--max-output", "10", "a.llmz"]),
        (6, ["-t", "newer.llmz"]),
    ]:
        done = run(*arguments, cwd=tmp_path)
        assert done.returncode == code, (arguments, done.stderr)
        assert b"Traceback" not in done.stderr
        assert (code == 0) or done.stderr.startswith((b"llmzip: ", b"error: ")), done.stderr


def test_names_that_are_no_text(tmp_path):
    name = os.path.join(os.fsencode(tmp_path), b"\xff\xfe")
    Path(os.fsdecode(name)).write_bytes(b"text")
    assert run("-1", os.fsdecode(name)).returncode == 0
    assert os.path.exists(name + b".llmz")


def test_a_reader_that_has_enough(tmp_path, text):
    (tmp_path / "a.llmz").write_bytes(llmzip.compress(text * 40, level=1))
    process = subprocess.Popen([SCRIPT, "-dc", tmp_path / "a.llmz"], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    process.stdout.read(10)
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait() == -signal.SIGPIPE


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it_and_leave_nothing(number, tmp_path, text):
    (tmp_path / "a").write_bytes(os.urandom(100) + text * 300)
    process = subprocess.Popen([SCRIPT, "-9", "-q", "a"], cwd=tmp_path, stderr=subprocess.PIPE)
    while not list(tmp_path.glob(".llmzip-*")):
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(number)
    assert process.wait() == -number
    assert process.stderr.read() == b""
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_standard_streams_that_are_closed(tmp_path):
    done = subprocess.run(["sh", "-c", f"{SCRIPT} -1c <&- >out"], cwd=tmp_path, capture_output=True)
    assert (done.returncode, done.stdout) == (1, b"")
    assert b"standard input is closed" in done.stderr
    assert (tmp_path / "out").read_bytes() == b""
    done = subprocess.run(["sh", "-c", f"echo | {SCRIPT} -1c >&-"], capture_output=True)
    assert done.returncode == 1
    assert b"standard output is closed" in done.stderr


def test_a_terminal_is_seen():
    if not hasattr(os, "openpty"):
        pytest.skip("no pseudo-terminals")
    leader, follower = pty.openpty()
    done = subprocess.run([SCRIPT, "-1"], stdin=subprocess.DEVNULL, stdout=follower,
                          stderr=subprocess.PIPE)
    os.close(leader), os.close(follower)
    assert done.returncode == 2
    assert b"terminal" in done.stderr


@pytest.mark.parametrize(
    "arguments, options",
    [
        (["-1"], {"level": 1}),
        (["-3", "--chunk-size", "1000"], {"level": 3, "chunk_size": 1000}),
        (["-4"], {"level": 4}),
        ([], {}),
        (["-9", "--lanes", "3"], {"level": 9, "lanes": 3}),
        (["--no-mix"], {"mix": False}),
        (["--prefix", "0: the keeper"], {"prefix": b"0: the keeper"}),
        (["--learn"], {"learn": "head"}),
        (["--learn=all"], {"learn": "all"}),
        (["--learn=adapter"], {"learn": "adapter"}),
        (["-m", "seed:gru:64:7"], {"model": "seed:gru:64:7"}),
        (["-m", str(ROOT / "tests/golden/no-window")], {"model": ROOT / "tests/golden/no-window"}),
    ],
)
def test_the_same_bytes_as_the_program(arguments, options, text):
    program = os.environ.get("LLMZIP", ROOT / "target/release/llmzip")
    if not shutil.which(program):
        pytest.skip(f"no program at {program}; LLMZIP names one")
    text = text[:1200]
    by_program = run("-c", "--no-verify", *arguments, command=[program], input=text)
    assert by_program.returncode == 0, by_program.stderr
    assert llmzip.compress(text, **options) == by_program.stdout
