"""An archive as a filesystem of fsspec with one file; found by the entry point ``fsspec.specs``."""

from __future__ import annotations

import os
from typing import Any

from fsspec.archive import AbstractArchiveFileSystem
from fsspec.core import OpenFile
from fsspec.core import open as open_file

from llmzip._file import LlmzipFile
from llmzip._index import ChunkIndex

_SUFFIX = ".llmz"


class LlmzipFileSystem(AbstractArchiveFileSystem):  # type: ignore[misc]
    """The content of an archive, for URLs such as ``llmzip://table.csv::s3://bucket/table.csv.llmz``.

    Needs no import of llmzip before. Read only; the file has the archive's name without ``.llmz``.

    Parameters
    ----------
    fo : str
        Path or URL of the archive.
    target_protocol, target_options : str and dict, optional
        Filesystem of the archive.

    Examples
    --------
    >>> import fsspec, llmzip, os, tempfile
    >>> path = os.path.join(tempfile.mkdtemp(), "log.txt.llmz")
    >>> with llmzip.open(path, "wb", level=1) as file:
    ...     _ = file.write(b"a ship passed")
    >>> with fsspec.open(f"llmzip://log.txt::{path}") as file:
    ...     file.read()
    b'a ship passed'
    """

    root_marker = ""
    protocol = "llmzip"
    cachable = False

    def __init__(
        self,
        fo: str = "",
        target_protocol: str | None = None,
        target_options: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(self, **kwargs)
        self.dir_cache: dict[str, dict[str, Any]] | None = None
        options = {"protocol": target_protocol, **(target_options or {})}
        self._archive: OpenFile = open_file(os.fspath(fo), "rb", compression=None, **options)
        self._name = os.path.basename(self._archive.path).removesuffix(_SUFFIX)

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path)).lstrip("/")

    def _get_dirs(self) -> None:
        if self.dir_cache is None:
            with self._archive as file:
                size = ChunkIndex(file).plain_length
            self.dir_cache = {self._name: {"name": self._name, "size": size, "type": "file"}}

    def _open(self, path: str, mode: str = "rb", **_: Any) -> Any:
        if mode != "rb":
            raise ValueError(f"the mode is {mode!r}: archives are read here, not written")
        if self._strip_protocol(path) != self._name:
            raise FileNotFoundError(f"{path!r} is not in the archive, which has {self._name!r}")
        file = OpenFile(self._archive.fs, self._archive.path, "rb").open()
        return _Owner(file)


class _Owner(LlmzipFile):
    """A file that closes the archive's."""

    def __init__(self, file: Any) -> None:
        super().__init__(file)
        self._owned = file
