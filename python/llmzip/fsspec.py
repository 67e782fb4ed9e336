"""Archives wherever files are opened by fsspec: ``compression="llmzip"``, and ``infer`` for ``.llmz``.

Registered when `llmzip` is imported; that comes first.

>>> import fsspec, llmzip, os, tempfile
>>> path = os.path.join(tempfile.mkdtemp(), "table.csv.llmz")
>>> with fsspec.open(path, "wt", compression="infer") as file:
...     _ = file.write("id,name\\n1,Ada\\n")
>>> with fsspec.open(path, "rt", compression="infer") as file:
...     file.readline()
'id,name\\n'
"""

from __future__ import annotations

from typing import Any

from llmzip._file import LlmzipFile


def _open(infile: Any, mode: str = "rb", **options: Any) -> LlmzipFile:
    return LlmzipFile(infile, mode, **options)


def register() -> None:
    """Register the compression, once or again."""
    from fsspec.compression import register_compression

    register_compression("llmzip", _open, "llmz", force=True)
