"""What a corpus will cost, before it is begun."""

from __future__ import annotations

import time
from dataclasses import dataclass

from llmzip._compress import compress
from llmzip._model import Model
from llmzip.corpus import _storage

SAMPLE = 1 << 19
_PIECES = 8


@dataclass(frozen=True)
class Estimate:
    """What coding at a level costs, by a sample that was coded on this machine.

    Attributes
    ----------
    level : int
    plain_length : int
        Bytes of all inputs.
    length : int
        Bytes that they will have, about; rather fewer, since long texts gain more.
    core_hours : float
        Hours of one core of this machine, in its state of now.
    """

    level: int
    plain_length: int
    length: int
    core_hours: float


def estimate(
    paths: str | list[str],
    levels: tuple[int, ...] = (1, 3, 6),
    *,
    model: Model | str | None = None,
    sample: int = SAMPLE,
    verify: bool = True,
) -> list[Estimate]:
    """Estimate what a corpus will cost at some levels, by coding pieces from all over it.

    Parameters
    ----------
    paths : str or list of str
        As in `plan`; what cannot be read is left out.
    levels : tuple of int, default (1, 3, 6)
    model : Model or str, optional
        As in `plan`.
    sample : int, default 512 KiB
        Bytes to code at each level.
    verify : bool, default True
        As in `run`; without it, half as much.

    Returns
    -------
    list of Estimate
        Empty where there is nothing to read.

    Examples
    --------
    >>> import tempfile, os, llmzip.corpus as corpus
    >>> path = os.path.join(tempfile.mkdtemp(), "log")
    >>> with open(path, "w") as file:
    ...     _ = file.write("a ship passed\\n" * 100000)
    >>> [fast] = corpus.estimate(path, levels=(1,), sample=10000)
    >>> fast.plain_length, fast.length < 140000, 0 < fast.core_hours < 1
    (1400000, True, True)
    """
    files = []
    for path in [paths] if isinstance(paths, str) else paths:
        for file in _storage.find(path):
            try:
                files.append((file, _storage.length(file)))
            except OSError:
                continue
    total = sum(length for _, length in files)
    text = b"".join(_piece(files, total * i // _PIECES, sample // _PIECES) for i in range(_PIECES))
    if not text:
        return []
    opened = model if isinstance(model, Model) or model is None else Model.open(model)
    compress(b"the model is loaded", model=opened)
    costs = []
    for level in levels:
        begun = time.process_time()
        coded = len(compress(text, level=level, model=opened, threads=1, verify=verify))
        hours = (time.process_time() - begun) / 3600
        costs.append(Estimate(level, total, coded * total // len(text), hours * total / len(text)))
    return costs


def _piece(files: list[tuple[str, int]], at: int, length: int) -> bytes:
    """Up to `length` bytes of all files together, from `at` on, of one file."""
    for path, size in files:
        if at < size:
            return _storage.read(path, at, min(at + length, size))
        at -= size
    return b""
