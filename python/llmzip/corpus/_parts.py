"""The work on a corpus: planned once, done a part at a time by whoever, collected at the end.

A part is done where its file has the bytes that its record says, and the source those that were coded. Both are
compared by BLAKE3 whenever it is asked for, so that nothing needs to be known of who died when: what is done stays,
all else is coded.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace

from llmzip import _llmzip
from llmzip._compress import compress, decompress
from llmzip._errors import CorruptError, LlmzipError
from llmzip._model import Model
from llmzip.corpus import _storage
from llmzip.corpus._manifest import (
    MANIFEST,
    PART_SIZE,
    Coded,
    Coding,
    Manifest,
    ManifestError,
    Part,
    Source,
    coded_of,
    name_of,
)

# Bytes that are read at a time to find the end of a line.
_WINDOW = 1 << 16


@dataclass(frozen=True)
class Failure:
    """A source or a part that could not be worked on.

    Attributes
    ----------
    name : str
        The source's.
    part : str or None
        The part's; None for the whole source.
    error : str
        Why.
    """

    name: str
    part: str | None
    error: str

    def __str__(self) -> str:
        return f"{self.name}{f' ({self.part})' if self.part else ''}: {self.error}"


class IncompleteError(LlmzipError):
    """Some inputs or parts failed; all others are done, and the same call again does what is missing.

    Attributes
    ----------
    failures : list of Failure
        In the order of the content.
    """

    def __init__(self, failures: list[Failure]) -> None:
        super().__init__(failures)
        self.failures = failures

    def __str__(self) -> str:
        named = "; ".join(str(failure) for failure in self.failures[:5])
        more = f"; and {len(self.failures) - 5} more" if len(self.failures) > 5 else ""
        return f"{len(self.failures)} failed, all others are done: {named}{more}"


def plan(
    paths: str | list[str],
    out: str,
    *,
    level: int = 6,
    model: Model | str | None = None,
    part_size: int = PART_SIZE,
    chunk_size: int | None = None,
    learn: str | None = None,
) -> Manifest:
    """Plan a corpus, or go on with one that was planned: reads the sources' lengths, and codes nothing.

    Parameters
    ----------
    paths : str or list of str
        Files, and folders of which all files are taken; or URLs, by fsspec. Their order is that of the content.
    out : str
        The folder for the parts and the manifest.
    level, model, chunk_size, learn
        As in `llmzip.compress`.
    part_size : int, default 16 MiB
        Plain bytes of a part, about, at most 1 GiB: a part ends with the last line before a multiple of it, or there
        where it has no line's end.

    Returns
    -------
    Manifest
        Written into `out`. What a former plan knew to be done is in it.

    Raises
    ------
    ManifestError
        `out` has another corpus: other sources before those, or coded otherwise.

    Examples
    --------
    >>> import tempfile, os, llmzip.corpus as corpus
    >>> folder = tempfile.mkdtemp()
    >>> with open(os.path.join(folder, "log"), "w") as file:
    ...     _ = file.write("a ship passed\\n" * 1000)
    >>> out = os.path.join(folder, "coded")
    >>> planned = corpus.plan(os.path.join(folder, "log"), out, level=1, part_size=4000)
    >>> len(planned.parts), planned.missing
    (4, [0, 1, 2, 3])
    >>> for number in planned.missing:  # on whatever machines have both folders
    ...     _ = corpus.run(out, number)
    >>> done = corpus.collect(out)
    >>> done.missing, [(part.coded.start, part.coded.end) for part in done.parts]
    ([], [(0, 3990), (3990, 7994), (7994, 11998), (11998, 14000)])
    """
    coding = Coding.new(level, model, part_size, chunk_size, learn)
    files = [file for path in ([paths] if isinstance(paths, str) else paths) for file in _storage.find(path)]
    if not files:
        raise ValueError("no inputs")
    if _storage.join(out, MANIFEST) in files:
        raise ValueError(f"{out} is among the inputs")
    root, names = _storage.root_of(files)
    sources = tuple(_source(file, name) for file, name in zip(files, names))
    before = _former(out, coding, names)
    if before is not None:  # a source that cannot be read now may have parts that are done
        sources = tuple(
            replace(old, error=new.error) if new.error and not old.error else new
            for new, old in zip(sources, before.sources)
        ) + sources[len(before.sources) :]
    coded = {part.name: part.coded for part in before.parts} if before else {}
    parts = [
        Part(number, index)
        for number, source in enumerate(sources)
        for index in range(-(-source.length // part_size))
    ]
    parts = [replace(part, coded=coded.pop(part.name, None)) for part in parts]
    for name in coded:  # of sources that are shorter now
        _storage.remove(_storage.join(out, name))
    manifest = Manifest(root, coding, sources, tuple(parts))
    manifest.save(out)
    return manifest


def _source(path: str, name: str) -> Source:
    try:
        return Source(name_of(name), _storage.length(path))
    except OSError as error:
        return Source(name, 0, _reason(error))


def _reason(error: BaseException) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


def _former(out: str, coding: Coding, names: list[str]) -> Manifest | None:
    """The manifest that is there already, which must be one to go on with."""
    try:
        before = Manifest.load(out)
    except FileNotFoundError:
        return None
    for field, wanted in asdict(coding).items():
        there = getattr(before.coding, field)
        if there != wanted and field != "label":
            raise ManifestError(f"{out} has a corpus with {field} {there}, expected {wanted}")
    for source, name in zip(before.sources, names):
        if source.name != name:
            raise ManifestError(f"{out} has a corpus of {source.name}, expected {name}")
    if len(before.sources) > len(names):
        raise ManifestError(f"{out} has a corpus of {len(before.sources)} inputs, expected {len(names)}")
    return before


def cut(path: str, length: int, part_size: int, index: int) -> int:
    """Return where a part of a source begins; of the one after the last, the source's length.

    A cut is after the last line's end before a multiple of `part_size`, or at that where the part before has none.
    So it depends on what is before it alone, and is found without the others.
    """
    end = index * part_size
    if index == 0 or end >= length:
        return min(end, length)
    first = end - part_size
    for start in range(end - _WINDOW, first - _WINDOW, -_WINDOW):
        start = max(start, first)
        window = _storage.read(path, start, min(start + _WINDOW, end))
        found = window.rfind(b"\n")
        if found >= 0:
            return start + found + 1
    return end


def run(
    out: str,
    number: int,
    *,
    manifest: Manifest | None = None,
    model: Model | str | None = None,
    verify: bool = True,
    threads: int | None = 1,
) -> tuple[Coded, bool]:
    """Code a part, unless it is done.

    Any number of processes may do so at the same time, even with the same part.

    Parameters
    ----------
    out : str
        The folder of the corpus.
    number : int
        The number of the part in the manifest.
    manifest : Manifest, optional
        That of `out`, where it was read before.
    model : Model or str, optional
        The model, or the folder or file that it is in where it is not in this machine's store.
    verify : bool, default True
        Whether each chunk is decoded and compared before it is written.
    threads : int, optional
        Changes no byte.

    Returns
    -------
    Coded
        What the part is.
    bool
        Whether it was coded now.

    Raises
    ------
    OSError
        The source cannot be read, or the part not written.
    ModelMissingError
        No model here has the digest that the manifest names.
    ManifestError
        This is another version of llmzip.
    IndexError
        There is no such part.
    """
    manifest = manifest or Manifest.load(out)
    coding = manifest.coding
    if not isinstance(model, Model):
        model = coding.open_model(model)
    if model is not None and (model.digest, model.adapter) != (coding.model, None):
        model = coding.open_model()
    part = manifest.parts[number]
    source = manifest.path(part)
    length = manifest.sources[part.source].length
    start, end = (cut(source, length, coding.part_size, part.index + i) for i in (0, 1))
    plain = _storage.read(source, start, end)
    if len(plain) < end - start:
        raise OSError(f"{source} was {length} bytes long and is shorter now")
    digest = _llmzip.blake3(plain)
    coded = part.coded or _record(out, part)
    if coded and (coded.start, coded.end, coded.plain_blake3) == (start, end, digest):
        if _is_whole(out, part, coded):
            return coded, False
    options = {"chunk_size": coding.chunk_size, "learn": coding.learn, "verify": verify}
    archive = compress(plain, level=coding.level, model=model, threads=threads, **options)
    coded = Coded(start, end, digest, len(archive), _llmzip.blake3(archive))
    # The record first: a part that is there has one, and one that differs from the part counts for nothing.
    _storage.write(_storage.join(out, part.record), json.dumps(asdict(coded)).encode())
    _storage.write(_storage.join(out, part.name), archive)
    return coded, True


def _record(out: str, part: Part) -> Coded | None:
    path = _storage.join(out, part.record)
    try:
        return coded_of(json.loads(_storage.read(path, 0, _storage.length(path))))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _archive(out: str, part: Part, coded: Coded) -> bytes | None:
    """The bytes of a part; None where they are not those that were written."""
    path = _storage.join(out, part.name)
    try:
        if _storage.length(path) != coded.length:
            return None
        archive = _storage.read(path, 0, coded.length)
    except OSError:
        return None
    return archive if _llmzip.blake3(archive) == coded.blake3 else None


def _is_whole(out: str, part: Part, coded: Coded) -> bool:
    return _archive(out, part, coded) is not None


def collect(out: str, *, coded: dict[int, Coded] | None = None, verify: bool = False) -> Manifest:
    """Bring what is known of the parts into the manifest. One process at a time does so.

    Parameters
    ----------
    out : str
        The folder of the corpus.
    coded : dict of int to Coded, optional
        What `run` returned, where that is at hand; else the records in the folder say it.
    verify : bool, default False
        Whether all parts are read and compared with their BLAKE3, and not their presence and length alone.

    Returns
    -------
    Manifest
        Parts that are not there, or not as they were written, are among its `missing`.
    """
    manifest, there = Manifest.load(out), set(_storage.names(out))
    records = [part.record for part in manifest.parts if part.record in there]
    found: dict[int, Coded | None] = {}
    for number, part in enumerate(manifest.parts):
        known = (coded or {}).get(number)
        if known is None and part.record in there:
            known = _record(out, part)
        known = known or part.coded
        if known and part.name in there:
            path = _storage.join(out, part.name)
            is_whole = _is_whole(out, part, known) if verify else _storage.length(path) == known.length
            found[number] = known if is_whole else None
    manifest = manifest.with_coded({n: found.get(n) for n in range(len(manifest.parts))})
    manifest.save(out)
    for record in records:
        _storage.remove(_storage.join(out, record))
    if not manifest.missing:
        _storage.remove_drafts(out)
    return manifest


def failures(manifest: Manifest, reasons: dict[int, BaseException] | None = None) -> list[Failure]:
    """Return what keeps a corpus from being complete.

    Parameters
    ----------
    manifest : Manifest
    reasons : dict of int to exception, optional
        Why parts failed, by their numbers.

    Returns
    -------
    list of Failure
    """
    found = [
        (number, -1, Failure(source.name, None, source.error))
        for number, source in enumerate(manifest.sources)
        if source.error
    ]
    for number in manifest.missing:
        part, reason = manifest.parts[number], (reasons or {}).get(number)
        error = _reason(reason) if reason else "missing"
        name = manifest.sources[part.source].name
        found.append((part.source, part.index, Failure(name, part.name, error)))
    return [failure for _, _, failure in sorted(found, key=lambda row: row[:2])]


def join(out: str, path: str) -> int:
    """Write all parts as one archive; ``cat`` in the order of their names does the same, and checks nothing.

    Parameters
    ----------
    out : str
        The folder of the corpus.
    path : str
        The archive, which is replaced where it exists.

    Returns
    -------
    int
        Its bytes.

    Raises
    ------
    IncompleteError
        A part is missing, or not as it was written.
    """
    manifest = collect(out)
    problems = failures(manifest)
    if problems:
        raise IncompleteError(problems)
    with _storage.create(path) as file:
        for part in manifest.parts:
            assert part.coded is not None
            archive = _archive(out, part, part.coded)
            if archive is None:
                name = manifest.sources[part.source].name
                raise IncompleteError([Failure(name, part.name, "not as it was written")])
            file.write(archive)
    return manifest.length


def restore(
    folder: str,
    number: int,
    out: str,
    *,
    manifest: Manifest | None = None,
    model: Model | str | None = None,
    threads: int | None = 1,
) -> bool:
    """Decode a part into a file beside the source that it is of, unless that or the source is there already.

    Parameters
    ----------
    folder : str
        The folder of the corpus.
    number : int
        The number of the part.
    out : str
        The folder for the sources.
    manifest, model, threads
        As in `run`.

    Returns
    -------
    bool
        Whether it was decoded now.

    Raises
    ------
    CorruptError
        The part is missing, or not as it was written.
    FileExistsError
        The source is there and has other bytes.
    """
    manifest = manifest or Manifest.load(folder)
    if not isinstance(model, Model):
        model = manifest.coding.open_model(model)
    part = manifest.parts[number]
    coded = part.coded
    source = _storage.join(out, manifest.sources[part.source].name)
    if coded is None:
        raise CorruptError(f"{part.name} is missing: the corpus is not complete")
    there = _plain(source, coded.start, coded)
    if there is False:
        raise FileExistsError(f"{source} is there, with other bytes")
    if there or _plain(_piece(out, part), 0, coded):
        return False
    archive = _archive(folder, part, coded)
    if archive is None:
        raise CorruptError(f"{part.name} is missing or damaged: compress again to have it replaced")
    plain = decompress(archive, model=model, max_output=coded.end - coded.start, threads=threads)
    if _llmzip.blake3(plain) != coded.plain_blake3:
        raise CorruptError(f"{part.name} has another content than the manifest says")
    _storage.write(_piece(out, part), plain)
    return True


def _pieces(out: str) -> str:
    """The folder of the parts' contents until their sources are put together."""
    return _storage.join(out, f"{_storage.DRAFT}parts")


def _piece(out: str, part: Part) -> str:
    return _storage.join(_pieces(out), part.name.removesuffix(".llmz"))


def _plain(path: str, at: int, coded: Coded) -> bool | None:
    """Whether a file has the content of a part; None where there is no file."""
    try:
        plain = _storage.read(path, at, at + coded.end - coded.start)
    except FileNotFoundError:
        return None
    return _llmzip.blake3(plain) == coded.plain_blake3


def assemble(manifest: Manifest, number: int, out: str) -> None:
    """Put a source together of the files of its parts, which are removed.

    Parameters
    ----------
    manifest : Manifest
    number : int
        The number of the source, all of whose parts `restore` decoded.
    out : str
        The folder for the sources.
    """
    source = manifest.sources[number]
    path = _storage.join(out, source.name)
    pieces = [_piece(out, part) for part in manifest.parts if part.source == number]
    try:
        if _storage.length(path) != source.length:
            raise FileExistsError(f"{path} is there, with other bytes")
    except FileNotFoundError:
        with _storage.create(path) as file:
            for piece in pieces:
                file.write(_storage.read(piece, 0, _storage.length(piece)))
    for piece in pieces:
        _storage.remove(piece)
    _storage.remove_drafts(_pieces(out))
    _storage.remove_empty(_pieces(out))
