"""Corpora: many files, or large ones, as archives of parts that any machines make independently.

Nothing here knows an engine. `llmzip.ray` runs it on Ray; ``python -m llmzip.corpus`` is for GNU parallel, Slurm and
shells. docs/corpora.md has recipes, costs and what was measured.

A corpus is a folder: ``manifest.json``, and a file for each part. Each part is an archive of its own, of some
16 MiB of a source cut at a line's end, so that all of them joined by ``cat`` are one archive, and the same bytes whoever
made which part.
"""

from llmzip.corpus._estimate import Estimate, estimate
from llmzip.corpus._manifest import Coded, Coding, Manifest, ManifestError, Part, Source
from llmzip.corpus._parts import (
    Failure,
    IncompleteError,
    assemble,
    collect,
    failures,
    join,
    plan,
    restore,
    run,
)

__all__ = [
    "Coded",
    "Coding",
    "Estimate",
    "Failure",
    "IncompleteError",
    "Manifest",
    "ManifestError",
    "Part",
    "Source",
    "assemble",
    "collect",
    "estimate",
    "failures",
    "join",
    "plan",
    "restore",
    "run",
]
