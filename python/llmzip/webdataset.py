"""Archives in the samples of WebDataset: ``caption.txt.llmz`` is decoded as ``caption.txt``.

Shards that are archives as a whole need nothing but the program:
``WebDataset("pipe:llmzip -dc shard-000000.tar.llmz")``.
"""

from __future__ import annotations

from typing import Any

from llmzip._compress import decompress

_SUFFIX = ".llmz"


def llmzfilter(key: str, data: Any) -> Any:
    """Decompress what ends in ``.llmz``; whatever else the pipeline decodes goes on from there.

    Parameters
    ----------
    key : str
        The sample's key: a dot and a suffix.
    data : bytes
        Its bytes.

    Returns
    -------
    webdataset.autodecode.Continue or None
        The key without ``.llmz`` and the content; None for another key.

    Examples
    --------
    >>> import llmzip.webdataset as decoders
    >>> archive = llmzip.compress(b"a ship", level=1)
    >>> decoded = decoders.llmzfilter(".txt.llmz", archive)
    >>> decoded.key, decoded.data
    ('.txt', b'a ship')

    As a filter of a pipeline: ``dataset.decode(pre=[llmzip.webdataset.llmzfilter])``.
    """
    if not key.endswith(_SUFFIX):
        return None
    from webdataset.autodecode import Continue

    return Continue(key[: -len(_SUFFIX)], decompress(data))
