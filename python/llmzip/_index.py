"""The chunks of an archive."""

from __future__ import annotations

import io
import os
from collections import namedtuple

from llmzip import _llmzip

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, BinaryIO, NamedTuple, Union

    class Chunk(NamedTuple):
        """A chunk."""

        offset: int
        length: int
        plain_start: int
        plain_length: int
        method: str

else:
    Chunk = namedtuple("Chunk", "offset length plain_start plain_length method")
    Chunk.__doc__ = """A chunk: a part of an archive that decodes on its own.

    Attributes
    ----------
    offset, length : int
        Where it begins in the file, and its bytes there.
    plain_start, plain_length : int
        Where it begins in the content, and its bytes there.
    method : {"stored", "model", "mixed", "adaptive", "learning"}
        How it is coded.
    """


class ChunkIndex:
    """The chunks of an archive, from its headers and index: decodes nothing and loads no model.

    Parameters
    ----------
    path_or_file : path-like or file object
        A file object must be one to seek in; it is left open, and where it was.

    Attributes
    ----------
    chunks : tuple of Chunk
        In the order of the content.

    Raises
    ------
    NotAnArchiveError, TruncatedError, CorruptError, UnsupportedError, TrailingDataError
        It is not the whole of an archive.

    Examples
    --------
    >>> import io, llmzip
    >>> archive = io.BytesIO(llmzip.compress(b"a line\\n" * 1000, level=1, chunk_size=5000))
    >>> index = llmzip.ChunkIndex(archive)
    >>> [(chunk.plain_start, chunk.plain_length) for chunk in index]
    [(0, 5000), (5000, 2000)]
    >>> with llmzip.open(archive) as file:  # what the second holds
    ...     _ = file.seek(index[1].plain_start)
    ...     file.read(4)
    b'line'
    """

    __slots__ = ("chunks",)

    chunks: tuple[Chunk, ...]

    def __init__(self, path_or_file: Union[str, bytes, os.PathLike[Any], BinaryIO]) -> None:
        if isinstance(path_or_file, (str, bytes, os.PathLike)):
            with io.open(path_or_file, "rb") as file:
                self._read(file)
        else:
            here = path_or_file.tell()
            try:
                self._read(path_or_file)
            finally:
                path_or_file.seek(here)

    def _read(self, file: BinaryIO) -> None:
        self.chunks = tuple(Chunk(*chunk) for chunk in _llmzip.chunks(file))

    @property
    def plain_length(self) -> int:
        """Bytes of the content."""
        return sum(chunk.plain_length for chunk in self.chunks)

    def __len__(self) -> int:
        return len(self.chunks)

    def __iter__(self) -> Iterator[Chunk]:
        return iter(self.chunks)

    def __getitem__(self, number: int) -> Chunk:
        return self.chunks[number]

    def __repr__(self) -> str:
        return f"<llmzip.ChunkIndex of {len(self)} chunks, {self.plain_length} bytes>"
