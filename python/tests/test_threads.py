"""Threads, forks and imports."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import llmzip

fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


def test_others_run_while_work_is_done(text):
    """A thread that counts goes on counting: without the lock released it could not once."""
    counted, stop = [0], threading.Event()

    def count():
        while not stop.is_set():
            counted[0] += 1
            time.sleep(0.0005)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1000)  # nobody is made to give the lock away
    try:
        thread = threading.Thread(target=count)
        thread.start()
        while counted[0] == 0:
            time.sleep(0.001)
        start = counted[0]
        archive = llmzip.compress(text * 4, level=6, threads=1)
        while_compressing = counted[0] - start
        start = counted[0]
        assert llmzip.decompress(archive, threads=1) == text * 4
        while_decompressing = counted[0] - start
    finally:
        stop.set()
        sys.setswitchinterval(before)
    thread.join()
    assert while_compressing > 5 and while_decompressing > 5


def test_calls_side_by_side(text):
    texts = [text[i * 100 : i * 100 + 900] for i in range(6)]
    with ThreadPoolExecutor(4) as pool:
        archives = list(pool.map(llmzip.compress, texts))
        assert list(pool.map(llmzip.decompress, archives)) == texts
    assert archives == [llmzip.compress(text) for text in texts]


def test_one_file_read_by_several(text, archive):
    import io

    file, lock = llmzip.open(io.BytesIO(archive)), threading.Lock()

    def read(place):
        with lock:
            file.seek(place)
            return file.read(50)

    places = [i * 613 % (len(text) - 50) for i in range(40)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(read, places)) == [text[at : at + 50] for at in places]


def in_child(work):
    """What `work` returns in a forked child, which must end."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writing, repr(work()).encode())
        finally:
            os._exit(0)
    os.close(writing)
    killer = threading.Timer(120, os.kill, (child, signal.SIGKILL))
    killer.start()
    with open(reading, "rb") as pipe:
        result = pipe.read().decode()
    os.waitpid(child, 0)
    killer.cancel()
    assert result, "the child hangs or failed"
    return result


@fork
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_after_use(text):
    archive = llmzip.compress(text, level=4, chunk_size=1000, threads=3)
    assert llmzip.decompress(archive, threads=3) == text

    def work():
        same = llmzip.compress(text, level=4, chunk_size=1000, threads=3) == archive
        return same and llmzip.decompress(archive, threads=3) == text

    assert in_child(work) == "True"


@fork
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_forks_while_another_thread_works(text, small_model):
    text = text[:500]
    archive, stop = llmzip.compress(text, level=4, threads=2), threading.Event()

    def work():
        while not stop.is_set():
            llmzip.decompress(archive, threads=2)
            llmzip.Model.open(small_model)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        for _ in range(6):
            in_this = lambda: (  # noqa: E731
                llmzip.decompress(archive) == text and llmzip.Model.open(small_model).label != ""
            )
            assert in_child(in_this) == "True"
    finally:
        stop.set()
    thread.join()


@fork
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_file_from_before_the_fork_is_refused(archive, tmp_path):
    import io

    reading, writing = llmzip.open(io.BytesIO(archive)), llmzip.open(io.BytesIO(), "wb", level=1)
    closing = llmzip.open(io.BytesIO(), "wb", level=1)

    def work():
        said = []
        for call in (lambda: reading.read(1), lambda: writing.write(b"x"), closing.close):
            try:
                call()
            except RuntimeError as error:
                said.append("forked" in str(error))
        return said

    assert in_child(work) == "[True, True, True]"
    assert reading.read(1) != b""
    writing.close()


def in_pool(data):
    return llmzip.decompress(llmzip.compress(data, level=4)) == data


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_processes(method, text):
    if method != "fork":
        script = (
            "import multiprocessing as m, llmzip\n"
            "if __name__ == '__main__':\n"
            f"    with m.get_context({method!r}).Pool(2) as pool:\n"
            "        model = llmzip.Model.default()\n"
            "        archives = pool.map(llmzip.compress, [b'a', b'b'])\n"
            "        assert pool.map(llmzip.decompress, archives) == [b'a', b'b']\n"
            "        assert pool.apply(hash, (model,)) is not None\n"
        )
        subprocess.run([sys.executable, "-c", script], check=True, timeout=300)
        return
    assert in_pool(text)
    with multiprocessing.get_context(method).Pool(2) as pool:
        assert pool.map(in_pool, [text, text[::-1]]) == [True, True]


def test_no_thread_outlives_a_call(text):
    script = (
        "import llmzip, os, time\n"
        "n = lambda: len(os.listdir('/proc/self/task'))\n"
        "assert n() == 1\n"
        "llmzip.decompress(llmzip.compress(b'text ' * 999, level=4, threads=3), threads=3)\n"
        "llmzip.bits('text')\n"
        "for _ in range(1000):\n"
        "    if n() == 1: break\n"
        "    time.sleep(0.01)\n"
        "assert n() == 1, n()\n"
    )
    if not os.path.isdir("/proc/self/task"):
        pytest.skip("no /proc/self/task")
    subprocess.run([sys.executable, "-c", script], check=True)


# Work on one chunk, beside a thread that interrupts it after half a second of processor time. An exit code of 77 says that the
# interrupt came through before the work was done.
INTERRUPTED = """
import io, llmzip, os, signal, sys, threading, time
text = open({path!r}, "rb").read()
signal.signal(signal.SIGINT, signal.default_int_handler)  # of processes in the background it is ignored

def interrupt():
    begun = time.process_time()
    while time.process_time() < begun + 0.5:
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt, daemon=True).start()
try:
    {work}
except KeyboardInterrupt:
    {after}
    sys.exit(77)
"""
signals = pytest.mark.skipif(os.name == "nt", reason="no signals of this kind")


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """A file of 3 MB, which at the default level would take minutes, and an archive that takes seconds."""
    path = tmp_path_factory.mktemp("interrupts") / "a"
    lines = (f"{i}: {i * i % 89} ships and {i % 7} lamps\n" for i in range(110_000))
    path.write_text("".join(lines))
    text = path.read_bytes()
    archives = (llmzip.compress(part, level=3, verify=False) for part in (text[:1_500_000], b"end"))
    path.with_suffix(".llmz").write_bytes(b"".join(archives))
    return path


@signals
@pytest.mark.parametrize(
    "work, after",
    [
        ("llmzip.compress(text)", "pass"),
        ("llmzip.compress(text, level=3, threads=1)", "pass"),
        ("llmzip.compress(text, level=3, threads=1, chunk_size=1_500_000)", "pass"),
        ("llmzip.compress(text, prefix=text[:9000], level=9, mix=False)", "pass"),
        (
            "file = llmzip.open(path + '.new', 'wb'); file.write(text); file.close()",
            "assert file.closed and os.path.getsize(path + '.new') == 0",
        ),
        (
            "file = llmzip.open(path + '.new', 'wb', level=3, chunk_size=1 << 20); file.write(text)",
            "file.close(); assert os.path.getsize(path + '.new') < 64  # a header",
        ),
    ],
)
def test_an_interrupt_ends_compression_within_a_chunk(work, after, long):
    script = INTERRUPTED.format(path=str(long), work=f"path = {str(long)!r}; {work}", after=after)
    assert subprocess.run([sys.executable, "-c", script], timeout=300).returncode == 77


@signals
@pytest.mark.parametrize(
    "work, after",
    [
        ("llmzip.decompress(open(path, 'rb').read())", "pass"),
        (
            "file = llmzip.open(path); file.read(5)",
            "assert (file.tell(), file.seek(1_500_000), file.read()) == (0, 1_500_000, b'end')",
        ),
        ("file = llmzip.open(path); file.seek(9); file.read(5)", "assert file.tell() == 9"),
    ],
)
def test_an_interrupt_ends_decompression_within_a_chunk(work, after, long):
    path = str(long.with_suffix(".llmz"))
    script = INTERRUPTED.format(path=str(long), work=f"path = {path!r}; {work}", after=after)
    assert subprocess.run([sys.executable, "-c", script], timeout=300).returncode == 77


@signals
def test_a_handler_that_raises_nothing_ends_nothing(text):
    script = (
        "import llmzip, os, signal, threading\n"
        "came = []\n"
        "signal.signal(signal.SIGUSR1, lambda *_: came.append(1))\n"
        "text = b''.join(b'%d ships\\n' % (i * i) for i in range(1500))\n"
        "threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1)).start()\n"
        "assert llmzip.decompress(llmzip.compress(text, level=5)) == text\n"
        "assert came\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=300)


def test_importing_imports_nothing_else():
    script = (
        "import sys\n"
        "import llmzip\n"
        "heavy = {'fsspec', 'numpy', 'numcodecs', 'webdataset', 'pandas', 'typing', 'threading'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    command = [sys.executable, "-S", "-E", "-c", script]
    site = os.path.dirname(os.path.dirname(llmzip.__file__))
    script_path = f"import sys; sys.path.insert(0, {site!r})\n{script}"
    command[-1] = script_path
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
