"""Archives as a codec of numcodecs, for Zarr; found by the entry point ``numcodecs.codecs``."""

from __future__ import annotations

from typing import Any

from numcodecs.abc import Codec
from numcodecs.compat import ensure_contiguous_ndarray, ndarray_copy

from llmzip._compress import compress, decompress
from llmzip._model import Model


class LLMZip(Codec):  # type: ignore[misc]
    """Codec of buffers as archives. Encoded bytes depend on the buffer and the options alone.

    Parameters
    ----------
    level : int, default 6
        1 is fast, 9 is small. Numbers gain from the adaptive model alone, which is levels 1 to 3.
    model : str, optional
        Name of a language model (`llmzip.Model.open`), which is loaded when it is first used.

    Examples
    --------
    >>> import numcodecs
    >>> codec = numcodecs.get_codec({"id": "llmzip", "level": 1})
    >>> codec
    LLMZip(level=1, model=None)
    >>> bytes(codec.decode(codec.encode(b"0 1 2 3 4 5 6 7")))
    b'0 1 2 3 4 5 6 7'
    """

    codec_id = "llmzip"

    def __init__(self, level: int = 6, model: str | None = None) -> None:
        self.level, self.model = level, model
        self._opened: Model | None = None

    def _model(self) -> Model | None:
        if self._opened is None and self.model is not None:
            self._opened = Model.open(self.model)
        return self._opened

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    def encode(self, buf: Any) -> bytes:
        """Compress a buffer."""
        return compress(ensure_contiguous_ndarray(buf), level=self.level, model=self._model())

    def decode(self, buf: Any, out: Any = None) -> Any:
        """Decompress a buffer, into `out` where it is given."""
        if out is not None:
            out = ensure_contiguous_ndarray(out)
        plain = decompress(ensure_contiguous_ndarray(buf), model=self._model())
        return ndarray_copy(plain, out)
