"""Lossless compression with a language model and arithmetic coding.

The archives are those of the program ``llmzip``, byte for byte, and decode bit for bit on any machine.

>>> import llmzip
>>> archive = llmzip.compress(b"The keeper wrote every evening: wind, sea, ships.")
>>> llmzip.decompress(archive)
b'The keeper wrote every evening: wind, sea, ships.'

Importing the package makes fsspec, and all that opens files by it, read and write ``.llmz``: at once where
fsspec is imported already, else when it is.
"""

from llmzip import _after_import
from llmzip._compress import bits, compress, decompress
from llmzip._errors import (
    CorruptError,
    InvalidArgumentError,
    InvalidModelError,
    LimitExceededError,
    LlmzipError,
    MemoryExceededError,
    ModelMissingError,
    NotAnArchiveError,
    TrailingDataError,
    TruncatedError,
    UnsupportedError,
)
from llmzip._file import LlmzipFile, open
from llmzip._index import Chunk, ChunkIndex
from llmzip._model import Model

__all__ = [
    "Chunk",
    "ChunkIndex",
    "CorruptError",
    "InvalidArgumentError",
    "InvalidModelError",
    "LimitExceededError",
    "LlmzipError",
    "LlmzipFile",
    "MemoryExceededError",
    "Model",
    "ModelMissingError",
    "NotAnArchiveError",
    "TrailingDataError",
    "TruncatedError",
    "UnsupportedError",
    "bits",
    "compress",
    "decompress",
    "open",
]

_after_import.call("fsspec.compression", "llmzip.fsspec", "register")
