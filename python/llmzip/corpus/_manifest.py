"""What a corpus is made of: sources, the parts they are cut into, and how the parts are coded."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import Any

from llmzip._errors import LlmzipError
from llmzip._model import Model
from llmzip.corpus import _storage

MANIFEST = "manifest.json"
SCHEMA = 1
PART_SIZE = 16 << 20
"""Plain bytes of a part: four chunks, minutes of a core."""
MAX_PART_SIZE = 1 << 30
"""A part is in memory as a whole."""

_HEX = re.compile(r"[0-9a-f]{64}")


class ManifestError(LlmzipError):
    """The manifest is damaged, or of another corpus than was asked for."""


@dataclass(frozen=True)
class Source:
    """An input of a corpus.

    Attributes
    ----------
    name : str
        Its path from the folder that all inputs are in, with ``/``.
    length : int
        Its bytes.
    error : str or None
        Why it could not be read when the corpus was planned.
    """

    name: str
    length: int
    error: str | None = None


@dataclass(frozen=True)
class Coded:
    """A part that is done.

    Attributes
    ----------
    start, end : int
        The bytes of the source that it has.
    plain_blake3 : str
        Their BLAKE3.
    length : int
        Its bytes as an archive.
    blake3 : str
        Their BLAKE3.
    """

    start: int
    end: int
    plain_blake3: str
    length: int
    blake3: str


@dataclass(frozen=True)
class Part:
    """A part of a source: an archive of its own.

    Attributes
    ----------
    source : int
        The number of its source.
    index : int
        Its number in the source, from 0.
    coded : Coded or None
        What it is; None as long as it is missing.
    """

    source: int
    index: int
    coded: Coded | None = None

    @property
    def name(self) -> str:
        """The name of its file; the names' order is that of the content."""
        return f"{self.source:06}-{self.index:06}.llmz"

    @property
    def record(self) -> str:
        """The name of the file that says what it is, until the manifest does."""
        return f"{self.source:06}-{self.index:06}.json"


@dataclass(frozen=True)
class Coding:
    """All that the bytes of a part depend on, beside its content.

    Attributes
    ----------
    llmzip : str
        The version.
    level : int
        1 to 9.
    chunk_size : int or None
        None: by level.
    learn : {"head", "adapter", "all"} or None
        None: by level.
    model : str or None
        The digest of the model; None at levels that run none.
    label : str or None
        What archives call it.
    part_size : int
        Plain bytes of a part, about.
    """

    llmzip: str
    level: int
    chunk_size: int | None
    learn: str | None
    model: str | None
    label: str | None
    part_size: int

    @classmethod
    def new(
        cls,
        level: int,
        model: Model | str | None,
        part_size: int,
        chunk_size: int | None,
        learn: str | None,
    ) -> Coding:
        """Return it for what a caller asks."""
        if not 1 <= part_size <= MAX_PART_SIZE:
            raise ValueError(f"part_size is {part_size}, expected 1 to {MAX_PART_SIZE}")
        if not 1 <= level <= 9:
            raise ValueError(f"level is {level}, expected 1 to 9")
        digest = label = None
        if level > 3:
            named = model if isinstance(model, Model) else Model.open(model or "default")
            if named.adapter is not None:
                raise ValueError("the model has an adapter, expected none: a corpus names models alone")
            digest, label = named.digest, named.label
        return cls(version("llmzip"), level, chunk_size, learn, digest, label, part_size)

    def open_model(self, name: str | None = None) -> Model | None:
        """Return the model from this machine.

        Parameters
        ----------
        name : str, optional
            A folder or file with it, where it is not in the store.

        Returns
        -------
        Model or None
            None at levels that run none.

        Raises
        ------
        ModelMissingError
            No model here has the digest; the one of that name has another.
        ManifestError
            This is another version of llmzip, whose bytes may differ.
        """
        if self.llmzip != version("llmzip"):
            message = f"the corpus is coded by llmzip {self.llmzip}, this is {version('llmzip')}"
            raise ManifestError(message)
        if self.model is None:
            return None
        return Model._restore(name or "", self.model, self.label or "")


@dataclass(frozen=True)
class Manifest:
    """Sources, parts and coding of a corpus. In its folder it is ``manifest.json``.

    Attributes
    ----------
    root : str
        The folder that the sources are in.
    coding : Coding
    sources : tuple of Source
    parts : tuple of Part
        In the order of the content.
    """

    root: str
    coding: Coding
    sources: tuple[Source, ...]
    parts: tuple[Part, ...]

    @property
    def missing(self) -> list[int]:
        """The numbers of the parts that are not known to be done."""
        return [number for number, part in enumerate(self.parts) if part.coded is None]

    @property
    def plain_length(self) -> int:
        """Bytes of the content of all parts that are done."""
        return sum(part.coded.end - part.coded.start for part in self.parts if part.coded)

    @property
    def length(self) -> int:
        """Bytes of all parts that are done."""
        return sum(part.coded.length for part in self.parts if part.coded)

    def path(self, part: Part) -> str:
        """Return where the source of a part is."""
        return _storage.join(self.root, self.sources[part.source].name)

    def with_coded(self, coded: dict[int, Coded | None]) -> Manifest:
        """Return it with what is known of some parts, by their numbers."""
        parts = (replace(part, coded=coded.get(n, part.coded)) for n, part in enumerate(self.parts))
        return replace(self, parts=tuple(parts))

    def to_json(self) -> str:
        """Return it as the text of its file."""
        parts = [
            {"name": part.name, "source": part.source, "index": part.index}
            | (asdict(part.coded) if part.coded else {})
            for part in self.parts
        ]
        sources = [
            {key: value for key, value in asdict(source).items() if value is not None}
            for source in self.sources
        ]
        head = {"schema": SCHEMA, **asdict(self.coding), "root": self.root}
        lines = [f'"{key}": {json.dumps(value)}' for key, value in head.items()]
        for key, rows in (("sources", sources), ("parts", parts)):  # a line a row, for grep and diff
            inside = ",\n".join(json.dumps(row) for row in rows)
            lines.append(f'"{key}": [\n{inside}\n]' if rows else f'"{key}": []')
        return "{\n" + ",\n".join(lines) + "\n}\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Manifest:
        """Read it from the text of its file, which is not trusted."""
        try:
            return _read(json.loads(text))
        except ManifestError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ManifestError(f"the manifest is damaged: {error!r}") from error

    def save(self, folder: str) -> None:
        """Write it into the folder of the corpus."""
        _storage.write(_storage.join(folder, MANIFEST), self.to_json().encode())

    @classmethod
    def load(cls, folder: str) -> Manifest:
        """Read it from the folder of the corpus.

        Raises
        ------
        OSError
            There is none.
        ManifestError
            It is damaged, or of a newer llmzip.
        """
        path = _storage.join(folder, MANIFEST)
        return cls.from_json(_storage.read(path, 0, _storage.length(path)))


def _read(value: dict[str, Any]) -> Manifest:
    if _number(value["schema"]) != SCHEMA:
        raise ManifestError(f"the manifest has schema {value['schema']}, expected {SCHEMA}")
    fields = Coding.__dataclass_fields__
    coding = Coding(**{field: value[field] for field in fields})
    if not 1 <= _number(coding.part_size) <= MAX_PART_SIZE or not 1 <= _number(coding.level) <= 9:
        raise ValueError("part_size or level is out of range")
    for digest in filter(None, [coding.model]):
        _digest(digest)
    sources = tuple(
        Source(name_of(source["name"]), _number(source["length"]), source.get("error"))
        for source in value["sources"]
    )
    parts = []
    for row in value["parts"]:
        coded = coded_of(row) if "blake3" in row else None
        part = Part(_number(row["source"]), _number(row["index"]), coded)
        if part.source >= len(sources) or row["name"] != part.name:
            raise ValueError(f"part {row['name']!r} has another name or no source")
        parts.append(part)
    return Manifest(str(value["root"]), coding, sources, tuple(parts))


def coded_of(row: dict[str, Any]) -> Coded:
    """Read what a part is from a row of the manifest, or from its record."""
    start, end = _number(row["start"]), _number(row["end"])
    if not start <= end <= start + 2 * MAX_PART_SIZE:
        raise ValueError(f"the part has the bytes {start} to {end}")
    length = _number(row["length"])
    return Coded(start, end, _digest(row["plain_blake3"]), length, _digest(row["blake3"]))


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError(f"{value!r} is no length or number")
    return value


def _digest(value: Any) -> str:
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        raise ValueError(f"{value!r} is no BLAKE3")
    return value


def name_of(value: Any) -> str:
    """Return a name that stays in its folder, and is none that is used there for a while."""
    bad = [step for step in value.split("/") if step in ("", ".", "..") or "\0" in step]
    if bad or value.startswith(_storage.DRAFT):
        raise ValueError(f"{value!r} is no name of an input")
    return str(value)
