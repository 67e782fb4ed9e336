"""Exceptions, each for one thing that can be done about it. Failures of the system stay ``OSError``."""


class LlmzipError(Exception):
    """Base of all exceptions of this package."""


class TruncatedError(LlmzipError, EOFError):
    """The archive ends early: fetch the rest of it. An ``EOFError``, as of gzip and lzma."""


class CorruptError(LlmzipError):
    """The archive is damaged: fetch it again, or recover its undamaged chunks (``llmzip -d --keep-going``)."""


class NotAnArchiveError(LlmzipError):
    """The input does not begin like an archive."""


class TrailingDataError(LlmzipError):
    """Bytes that are not an archive follow a complete, verified one."""


class UnsupportedError(LlmzipError):
    """The archive needs a newer llmzip."""


class ModelMissingError(LlmzipError):
    """The model that is named is not on this machine: fetch it (``llmzip models pull``)."""


class InvalidModelError(LlmzipError):
    """A model's files are damaged, or of a kind that llmzip cannot run."""


class InvalidArgumentError(LlmzipError, ValueError):
    """An argument is out of range."""


class LimitExceededError(LlmzipError):
    """The content has more bytes than ``max_output``."""


class MemoryExceededError(LlmzipError, MemoryError):
    """More memory would be needed than may be used."""


for _class in [LlmzipError, *LlmzipError.__subclasses__()]:
    _class.__module__ = "llmzip"  # where they are to be found
