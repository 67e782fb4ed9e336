"""Whole archives in memory, and what a model thinks of a text."""

from __future__ import annotations

from llmzip import _llmzip
from llmzip._model import handle, source

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Literal, TypedDict, Union

    from llmzip._model import ModelLike, PathLike

    Buffer = Any  # collections.abc.Buffer, from Python 3.12 on

    class Options(TypedDict, total=False):
        """Options of compression beside level and model."""

        chunk_size: Union[int, None]
        lanes: Union[int, None]
        mix: bool
        prefix: Buffer
        context: Union[int, None]
        learn: Union[Literal["head", "adapter", "all"], None]
        verify: bool
        threads: Union[int, None]
        adapter: Union[PathLike, None]
        steer: Union[PathLike, None]
        steer_random: Union[int, tuple[int, int], None]


def as_bytes(data: Buffer) -> bytes:
    """Return the bytes of an object with the buffer protocol, without a copy where they are `bytes`."""
    if type(data) is bytes:
        return data
    view = memoryview(data)
    if not view.c_contiguous:
        raise BufferError("the buffer is not contiguous in C's order")
    return view.tobytes()


def coding_options(
    level: int,
    chunk_size: int | None = None,
    lanes: int | None = None,
    mix: bool = True,
    prefix: Buffer = b"",
    context: int | None = None,
    learn: Literal["head", "adapter", "all"] | None = None,
    verify: bool = True,
    threads: int | None = None,
    adapter: PathLike | None = None,
    steer: PathLike | None = None,
    steer_random: int | tuple[int, int] | None = None,
) -> dict[str, Any]:
    """Return all options of compression, as the extension takes them; `adapter` is for `handle`."""
    options = {**locals(), "prefix": as_bytes(prefix)}
    if isinstance(steer_random, int):
        options["steer_random"] = (steer_random, 0)
    return options


def compress(
    data: Buffer, *, level: int = 6, model: ModelLike = None, **options: Any
) -> bytes:
    """Compress a buffer to an archive.

    Works without the interpreter's lock, on as many threads as `threads` says. Ctrl-C ends it at once.

    Parameters
    ----------
    data : bytes-like
        Anything with the buffer protocol, contiguous in C's order.
    level : int, default 6
        1 is fast, 9 is small; levels 1 to 3 run no language model.
    model : Model or str or path-like, optional
        A model, or its name, which is opened for this call alone; by default the one that comes with the package.
    chunk_size : int, optional
        Plain bytes in a chunk, up to 64 MiB; by default by level. Chunks are coded on their own: smaller ones are
        faster to seek in, and make a larger archive.
    lanes : int, optional
        Slices of a chunk that are decoded side by side, 1 to 64; by default by level and length.
    mix : bool, default True
        Whether the language model is mixed with the adaptive one.
    prefix : bytes-like, default b""
        A text that every chunk goes on from; it stands in the archive.
    context : int, optional
        Tokens until a model without a sliding window starts afresh.
    learn : {"head", "adapter", "all"}, optional
        What of the model learns from each chunk; by default nothing, of a ``seed:`` model all.
    verify : bool, default True
        Whether each chunk is decoded and compared before it is written.
    threads : int, optional
        Changes no byte; by default as many as this process may use.
    adapter : str or path-like, optional
        A low-rank adapter (LoRA) beside the model's weights, in place of any that the model was opened with: a folder
        in PEFT's layout, or the name of an imported one. The archive names it by its digest, and needs it.
    steer : str or path-like, optional
        Steering vectors before every text, as ``llmzip steer train`` writes them: a file, or the name of an imported
        one. The archive names them by their digest, and needs them.
    steer_random : int or (int, int), optional
        So many steering vectors, 1 to 64, drawn from a seed, by default 0; the archive needs nothing more.

    Returns
    -------
    bytes
        The archive that ``llmzip`` makes with the same options.

    Raises
    ------
    InvalidArgumentError
        An option is out of range, or the adapter or the vectors are for another model; it is a ``ValueError``.
    ModelMissingError, InvalidModelError
        The model, the adapter or the vectors are not on this machine, or damaged.

    Examples
    --------
    >>> import llmzip
    >>> len(llmzip.compress(b"to be or not to be, that is the question")) < 30
    True
    >>> archive = llmzip.compress(memoryview(b"id,name\\n" * 500), level=1)
    >>> llmzip.decompress(archive) == b"id,name\\n" * 500
    True
    """
    coding = coding_options(level, **options)
    return _llmzip.compress(as_bytes(data), handle(model, coding["adapter"]), coding)


def decompress(
    data: Buffer,
    *,
    model: ModelLike = None,
    max_output: int | None = None,
    threads: int | None = None,
    adapter: PathLike | None = None,
    steer: PathLike | None = None,
) -> bytes:
    """Decompress an archive, or several that are joined.

    Parameters
    ----------
    data : bytes-like
        The whole archive.
    model : Model or str or path-like, optional
        A model that the archive may need; any other that it names is looked for on this machine, and never on the
        network.
    max_output : int, optional
        Most bytes that may come of it, against archives that are small and enormous inside.
    threads : int, optional
        By default as many as this process may use.
    adapter, steer : str or path-like, optional
        The adapter and the steering vectors for archives that name some which are not imported; no harm where they
        are not needed.

    Returns
    -------
    bytes
        The content; every byte of it was checked.

    Raises
    ------
    TruncatedError
        The archive ends early; it is an ``EOFError``.
    CorruptError, NotAnArchiveError, TrailingDataError, UnsupportedError
        It is no archive, not a whole one, or a newer one.
    ModelMissingError, InvalidModelError
        Its model is not on this machine, or damaged.
    LimitExceededError
        `max_output` is not enough.

    Examples
    --------
    >>> import llmzip
    >>> archive = llmzip.compress(b"first, ", level=1) + llmzip.compress(b"second", level=1)
    >>> llmzip.decompress(archive)
    b'first, second'
    >>> llmzip.decompress(llmzip.compress(b"wind, sea, ships", steer_random=(2, 7)))
    b'wind, sea, ships'
    >>> llmzip.decompress(archive[:-1])
    Traceback (most recent call last):
    ...
    llmzip.TruncatedError: stream 1, chunk 0: truncated at offset 38, inside a chunk's payload
    """
    return _llmzip.decompress(as_bytes(data), source(model, adapter, steer), max_output, threads)


def bits(
    text: str | Buffer, model: ModelLike = None, *, adapter: PathLike | None = None
) -> list[tuple[bytes, float]]:
    """Return the tokens of a text, each with the bits that it costs.

    The language model predicts alone here, without the adaptive model that it is mixed with in archives.

    Parameters
    ----------
    text : str or bytes-like
        A `str` is taken as UTF-8.
    model : Model or str or path-like, optional
        By default the one that comes with the package.
    adapter : str or path-like, optional
        As in `compress`.

    Returns
    -------
    list of (bytes, float)
        The tokens' bytes, which joined are the text, and their cost in bits after all tokens before them.

    Examples
    --------
    >>> import llmzip
    >>> tokens = llmzip.bits("once upon a time")
    >>> b"".join(token for token, _ in tokens)
    b'once upon a time'
    >>> round(sum(bits for _, bits in tokens))
    45
    """
    data = text.encode() if isinstance(text, str) else as_bytes(text)
    return handle(model, adapter).bits(data)
