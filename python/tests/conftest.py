"""What tests share: texts, archives of them, and the repository's own files."""

from __future__ import annotations

import io
import random
from pathlib import Path

import pytest

import llmzip

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def text() -> bytes:
    """Some 6 KB of lines, none the same."""
    words = "the keeper wrote every evening of wind and sea ships that passed by lamp oil fog".split()
    chance = random.Random(1)
    lines = (f"{day}: {' '.join(chance.choices(words, k=7))}\n" for day in range(140))
    return "".join(lines).encode()


@pytest.fixture(scope="session")
def archive(text: bytes) -> bytes:
    """The text in chunks of 1,000 bytes, coded fast."""
    return llmzip.compress(text, level=1, chunk_size=1000)


@pytest.fixture(scope="session")
def table() -> bytes:
    rows = "".join(f"{i},name {i % 7},{i * i % 101}\n" for i in range(300))
    return f"id,name,value\n{rows}".encode()


@pytest.fixture(scope="session")
def small_model() -> Path:
    """A model in a folder, of a few kilobytes."""
    folder = ROOT / "tests" / "golden" / "no-window"
    assert (folder / "config.json").is_file()
    return folder


class Pipe(io.RawIOBase):
    """Bytes that come a few at a time and cannot be gone back in."""

    def __init__(self, data: bytes) -> None:
        self.data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def readinto(self, buffer: memoryview) -> int:
        return self.data.readinto(memoryview(buffer)[:7])


@pytest.fixture
def pipe() -> type[Pipe]:
    return Pipe
