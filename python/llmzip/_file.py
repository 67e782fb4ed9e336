"""Archives as files."""

from __future__ import annotations

import io
import os

from llmzip import _llmzip
from llmzip._compress import as_bytes, coding_options
from llmzip._model import handle, source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any, BinaryIO, Literal, Union, overload

    from llmzip._compress import Buffer
    from llmzip._model import ModelLike

    FileLike = Union[str, bytes, os.PathLike[Any], BinaryIO, IO[bytes]]

# Bytes that are asked of the decoder at a time, which gives what it has of whole chunks.
_BUFFER = 1 << 16

if TYPE_CHECKING:

    @overload
    def open(
        path_or_file: FileLike,
        mode: Literal["r", "rb", "w", "wb", "x", "xb", "a", "ab"] = "rb",
        *,
        level: int = 6,
        model: ModelLike = None,
        encoding: None = None,
        errors: None = None,
        newline: None = None,
        **options: Any,
    ) -> LlmzipFile: ...
    @overload
    def open(
        path_or_file: FileLike,
        mode: Literal["rt", "wt", "xt", "at"],
        *,
        level: int = 6,
        model: ModelLike = None,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        **options: Any,
    ) -> io.TextIOWrapper: ...
    @overload
    def open(
        path_or_file: FileLike,
        mode: str,
        *,
        level: int = 6,
        model: ModelLike = None,
        encoding: str | None = None,
        errors: str | None = None,
        newline: str | None = None,
        **options: Any,
    ) -> LlmzipFile | io.TextIOWrapper: ...


def open(
    path_or_file: FileLike,
    mode: str = "rb",
    *,
    level: int = 6,
    model: ModelLike = None,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    **options: Any,
) -> LlmzipFile | io.TextIOWrapper:
    """Open an archive as `gzip.open` does.

    Parameters
    ----------
    path_or_file : path-like or file object
        A file object is read or written from where it is, and left open in the end.
    mode : str, default "rb"
        ``r``, ``w``, ``x`` or ``a``, with ``b`` or nothing for bytes and ``t`` for text. What ``a`` appends is a
        stream of its own: archives that are joined are the joined content.
    level, model, **options
        As in `compress`; of a file that is read only `model`, `adapter`, `steer` and `threads` matter.
    encoding, errors, newline : str, optional
        As in `io.TextIOWrapper`, with ``t`` alone.

    Returns
    -------
    LlmzipFile or io.TextIOWrapper

    Examples
    --------
    >>> import llmzip, os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "log.llmz")
    >>> with llmzip.open(path, "wt", level=1, encoding="utf-8") as log:
    ...     print("a ship passed", file=log)
    >>> with llmzip.open(path, "rt", encoding="utf-8") as log:
    ...     log.readlines()
    ['a ship passed\\n']
    """
    if "t" not in mode:
        for name, value in (("encoding", encoding), ("errors", errors), ("newline", newline)):
            if value is not None:
                raise ValueError(f"{name} is for text: the mode is {mode!r}")
        return LlmzipFile(path_or_file, mode, level=level, model=model, **options)
    if "b" in mode:
        raise ValueError(f"the mode is {mode!r}: text or bytes, not both")
    binary = LlmzipFile(path_or_file, mode.replace("t", ""), level=level, model=model, **options)
    try:
        return io.TextIOWrapper(binary, io.text_encoding(encoding), errors, newline)
    except BaseException:
        binary.close()
        raise


class LlmzipFile(io.BufferedIOBase):
    """An archive as a file of its content; made by `open`.

    Reading, any place can be gone to where the file object can seek: that costs the decoding of the chunk it is
    in. What is read from the beginning on is checked as a whole, what is read after a seek chunk by chunk. Chunks
    before damage can be read; a read that goes further raises. Writing, chunks go out as they are full, and the
    archive is complete when the file is closed, unless a write has failed. Ctrl-C ends reading and writing at once:
    what is read can be read again where the file object can seek; what is written ends after the last whole chunk.

    Not to be used on both sides of a fork: a `RuntimeError` says so.

    Examples
    --------
    >>> import io, llmzip
    >>> archive = io.BytesIO(llmzip.compress(b"wind, sea, ships", level=1))
    >>> file = llmzip.open(archive)
    >>> file.seek(-5, io.SEEK_END)
    11
    >>> file.read()
    b'ships'
    """

    def __init__(
        self,
        path_or_file: FileLike,
        mode: str = "rb",
        *,
        level: int = 6,
        model: ModelLike = None,
        **options: Any,
    ) -> None:
        self._file: Any = None
        self._owned: Any = None
        self._reader: io.BufferedReader | None = None
        self._writer: _llmzip.Writer | None = None
        self._written = 0
        self._is_broken = False
        kind = mode.replace("b", "", 1)
        if kind not in ("r", "w", "x", "a"):
            raise ValueError(f"the mode is {mode!r}, expected r, w, x or a, with b or t")
        coding = coding_options(level, **options)
        adapter = coding["adapter"]
        named: Any = source(model, adapter, coding["steer"]) if kind == "r" else handle(model, adapter)
        self.mode = kind + "b"
        file: Any = path_or_file
        if isinstance(path_or_file, (str, bytes, os.PathLike)):
            file = self._owned = io.open(path_or_file, self.mode)
        elif not hasattr(file, "read" if kind == "r" else "write"):
            raise TypeError(f"expected a path or a file object, not {type(file).__name__}")
        try:
            if kind == "r":
                raw = _Raw(file, named, coding["threads"])
                self._reader = io.BufferedReader(raw, _BUFFER)
            else:
                self._writer = _llmzip.Writer(file, named, coding)
        except BaseException:
            self.close()
            raise
        self._file = file

    @property
    def name(self) -> Any:
        """The name of the file that the archive is in."""
        return self._open()._file.name

    def _open(self) -> LlmzipFile:
        if self.closed:
            raise ValueError("I/O operation on closed file")
        return self

    def _reading(self) -> io.BufferedReader:
        if self._open()._reader is None:
            raise io.UnsupportedOperation("not open for reading")
        return self._reader  # type: ignore[return-value]

    def readable(self) -> bool:
        return self._open()._reader is not None

    def writable(self) -> bool:
        return self._open()._writer is not None

    def seekable(self) -> bool:
        return self._open()._reader is not None and self._reader.seekable()  # type: ignore[union-attr]

    def read(self, size: int | None = -1) -> bytes:
        return self._reading().read(size)

    def read1(self, size: int = -1) -> bytes:
        return self._reading().read1(size)

    def readinto(self, buffer: Buffer) -> int:
        return self._reading().readinto(buffer)

    def readinto1(self, buffer: Buffer) -> int:
        return self._reading().readinto1(buffer)

    def readline(self, size: int | None = -1) -> bytes:
        return self._reading().readline(size)

    def peek(self, size: int = 0) -> bytes:
        """Return bytes that come next without moving on; at least one, unless there are none."""
        return self._reading().peek(size)

    def __next__(self) -> bytes:
        return next(self._reading())

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._reading().seek(offset, whence)

    def tell(self) -> int:
        if self._open()._reader is None:
            return self._written
        return self._reader.tell()  # type: ignore[union-attr]

    def write(self, data: Buffer) -> int:
        if self._open()._writer is None:
            raise io.UnsupportedOperation("not open for writing")
        data = as_bytes(data)
        try:
            self._writer.write(data)  # type: ignore[union-attr]
        except BaseException:
            self._is_broken = True
            raise
        self._written += len(data)
        return len(data)

    def flush(self) -> None:
        """Flush the file object. Chunks that are not full stay here: only `close` writes them."""
        if self._open()._writer is not None:
            flush = getattr(self._file, "flush", None)
            if flush is not None:
                flush()

    def close(self) -> None:
        """Complete the archive where it was written, and close the file where it was opened by its path."""
        if self.closed:
            return
        writer, self._writer = self._writer, None
        reader, self._reader = self._reader, None
        owned, self._owned = self._owned, None
        try:
            if writer is not None and not self._is_broken:
                writer.finish()
            if reader is not None:
                reader.close()
        finally:
            try:
                if owned is not None:
                    owned.close()
            finally:
                super().close()

    def __repr__(self) -> str:
        state = "closed" if self.closed else self.mode
        return f"<llmzip.LlmzipFile {state} of {self._file!r}>"


class _Raw(io.RawIOBase):
    """The decoder as a raw stream, which `io.BufferedReader` makes a file of."""

    def __init__(self, file: Any, source: _llmzip.Source, threads: int | None) -> None:
        self._seekable = hasattr(file, "seekable") and file.seekable()
        self._decoder = _llmzip.Reader(file, self._seekable, source, threads)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._seekable

    def readinto(self, buffer: Any) -> int:
        with memoryview(buffer) as view, view.cast("B") as place:
            data = self._decoder.read(len(place))
            place[: len(data)] = data
            return len(data)

    def readall(self) -> bytes:
        parts = []
        while part := self._decoder.read(1 << 30):
            parts.append(part)
        return b"".join(parts)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if not self._seekable:
            raise io.UnsupportedOperation("the file object cannot seek")
        if whence == io.SEEK_CUR:
            offset += self._decoder.tell()
        elif whence == io.SEEK_END:
            offset += self._decoder.len()
        elif whence != io.SEEK_SET:
            raise ValueError(f"whence is {whence}, expected 0, 1 or 2")
        if offset < 0:
            raise ValueError(f"the place {offset} is before the content")
        self._decoder.seek(offset)
        return offset

    def tell(self) -> int:
        return self._decoder.tell()
