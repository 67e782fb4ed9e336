"""Corpora on Ray: parts of many files are coded by actors, each with a model that is loaded once.

A driver gives numbers of parts to actors, which read, code and write the parts themselves (`llmzip.corpus`). Plain
actors, not those of Ray Data: a part that ends its actor is tried again a few times and then named, the others done;
a part is given only to an actor that has its model; nothing but numbers goes through the object store. ``pip install
llmzip[ray]`` brings Ray.

Inputs and the output's folder must be the same from all nodes: a shared file system, or URLs, which fsspec opens.
"""

from __future__ import annotations

import logging
import os
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import ray
from ray.exceptions import RayError, RayTaskError

from llmzip._errors import LlmzipError
from llmzip._model import Model
from llmzip.corpus import (
    Failure,
    IncompleteError,
    Manifest,
    _storage,
    assemble,
    collect,
    failures,
    plan,
    restore,
    run,
)
from llmzip.corpus._manifest import PART_SIZE

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import Union

    Paths = Union[str, Path, list[Union[str, Path]]]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Report:
    """What a call did.

    Attributes
    ----------
    manifest : llmzip.corpus.Manifest
    coded : list of int
        The numbers of the parts that were coded, or decoded; all others were done before.
    """

    manifest: Manifest
    coded: list[int]


class WorkerError(LlmzipError):
    """Actors ended before they had their model, again and again."""


def compress(
    paths: Paths,
    out: str | Path,
    level: int = 6,
    model: Model | str | None = None,
    *,
    part_size: int = PART_SIZE,
    chunk_size: int | None = None,
    learn: str | None = None,
    verify: bool = True,
    workers: int | None = None,
    num_cpus: float = 1,
    retries: int = 3,
) -> Report:
    """Compress files to a folder of archives on a Ray cluster, or do what is missing of that.

    Parameters
    ----------
    paths : path or list of paths
        Files, and folders of which all files are taken; or URLs. Their order is that of the content.
    out : path
        The folder for the parts and their manifest. Its files ``*.llmz``, joined in the order of their names, are one
        archive of all inputs.
    level, model, chunk_size, learn, verify
        As in `llmzip.compress`. The model is loaded once an actor, found by its digest among those of the node, or
        by its path; nothing is downloaded.
    part_size : int, default 16 MiB
        Plain bytes of a part, about: what an actor does at a time.
    workers : int, optional
        Actors; by default as many as the cluster has room for when the call begins.
    num_cpus : float, default 1
        Processors, and so threads, of an actor.
    retries : int, default 3
        How often a part is tried again whose actor died. Preemption of its node does not count.

    Returns
    -------
    Report
        Its `coded` are the parts that this call made.

    Raises
    ------
    IncompleteError
        Some inputs could not be read, or parts not be made; all others are done, and `failures` has their names.
    ModelMissingError
        A node has no model of the digest.
    ManifestError
        `out` has another corpus.
    """
    folder, given = _text(out), paths if isinstance(paths, (list, tuple)) else [paths]
    manifest = plan(
        [_text(path) for path in given],
        folder,
        level=level,
        model=model,
        part_size=part_size,
        chunk_size=chunk_size,
        learn=learn,
    )
    threads = max(1, int(num_cpus))
    job = _Job(manifest, folder, _model_name(model), {"verify": verify, "threads": threads})
    pool = _Pool(job, num_cpus, retries)
    pool.work(range(len(manifest.parts)), workers)
    known = {number: coded for number, (coded, _) in pool.results.items()}
    manifest = collect(folder, coded=known)
    problems = failures(manifest, pool.failures)
    if problems:
        raise IncompleteError(problems)
    return Report(manifest, sorted(n for n, (_, is_new) in pool.results.items() if is_new))


def decompress(
    folder: str | Path,
    out: str | Path,
    model: Model | str | None = None,
    *,
    workers: int | None = None,
    num_cpus: float = 1,
    retries: int = 3,
) -> Report:
    """Decompress a folder that `compress` made to the files that it was made of, or do what is missing of that.

    Parameters
    ----------
    folder : path
        With the parts and their manifest.
    out : path
        The folder for the files, which have their names from the folder that all were in. Until they are complete their
        pieces are in a folder ``.llmzip-parts`` there.
    model : Model or str, optional
        Where the model is not in the nodes' stores.
    workers, num_cpus, retries
        As in `compress`.

    Returns
    -------
    Report
        Its `coded` are the parts that this call decoded.

    Raises
    ------
    IncompleteError
        Parts are missing or damaged, or files are there with another content; all others are done.
    ModelMissingError
        A node has no model of the digest.
    ManifestError
        The manifest is damaged.
    """
    manifest, into = Manifest.load(_text(folder)), _text(out)
    job = _Job(manifest, _text(folder), _model_name(model), {"threads": max(1, int(num_cpus))}, into)
    pool = _Pool(job, num_cpus, retries)
    pool.work(range(len(manifest.parts)), workers)
    problems = [
        Failure(_source_of(manifest, number), manifest.parts[number].name, str(error))
        for number, error in sorted(pool.failures.items())
    ]
    failed = {manifest.parts[number].source for number in pool.failures}
    for number, source in enumerate(manifest.sources):
        if source.error and not source.length:
            problems.append(Failure(source.name, None, source.error))
        elif number not in failed:
            try:
                assemble(manifest, number, into)
            except OSError as error:
                problems.append(Failure(source.name, None, str(error)))
    if problems:
        raise IncompleteError(problems)
    return Report(manifest, sorted(n for n, is_new in pool.results.items() if is_new))


def _text(path: str | Path) -> str:
    """A path from the driver's working folder, which is not the actors'; a URL as it is."""
    text = os.fspath(path)
    return text if _storage.is_url(text) else os.path.abspath(text)


def _model_name(model: Model | str | None) -> str | None:
    """The name by which nodes may find a model that is not in their stores."""
    return model._name if isinstance(model, Model) else model


def _source_of(manifest: Manifest, number: int) -> str:
    return manifest.sources[manifest.parts[number].source].name


@dataclass(frozen=True)
class _Job:
    """What actors do: code the parts of `folder` or, where `into` says where to, decode them."""

    manifest: Manifest
    folder: str
    model: str | None
    options: dict[str, Any]
    into: str | None = None


class _Worker:
    """An actor: a model, and the parts that it is given."""

    def __init__(self, job: _Job) -> None:
        self.job = job

    def load(self) -> None:
        """Load the model; the first thing that is asked, so that its errors are those of a task."""
        self.model = self.job.manifest.coding.open_model(self.job.model)

    def do(self, number: int) -> Any:
        job = self.job
        options = {"manifest": job.manifest, "model": self.model, **job.options}
        if job.into is None:
            return run(job.folder, number, **options)
        return restore(job.folder, number, job.into, **options)


@dataclass
class _Pool:
    """Actors, and what came of the parts that they were given."""

    job: _Job
    num_cpus: float
    retries: int
    results: dict[int, Any] = field(default_factory=dict)
    failures: dict[int, BaseException] = field(default_factory=dict)

    def work(self, numbers: Iterable[int], workers: int | None) -> None:
        """Have all parts done, each by one actor at a time, whatever actors die meanwhile."""
        self.waiting = deque(numbers)
        if not self.waiting:
            return
        if not ray.is_initialized():
            ray.init()
        if workers is None:
            workers = int(ray.cluster_resources().get("CPU", 1) // self.num_cpus)
        self.total, self.deaths = len(self.waiting), Counter[int | None]()
        self.shared = ray.put(self.job)
        # The one task of each actor: the number of its part, or None while it loads the model.
        self.tasks: dict[ray.ObjectRef, tuple[Any, int | None]] = {}
        try:
            for _ in range(max(1, min(workers, self.total))):
                self._start()
            while self.waiting or any(number is not None for _, number in self.tasks.values()):
                done, _ = ray.wait(list(self.tasks), num_returns=1)
                self._take(done[0])
        finally:
            for actor, _ in self.tasks.values():
                ray.kill(actor)

    def _start(self) -> None:
        worker = ray.remote(_Worker).options(num_cpus=self.num_cpus, max_restarts=0)
        actor = worker.remote(self.shared)
        self.tasks[actor.load.remote()] = actor, None

    def _take(self, task: ray.ObjectRef) -> None:
        """Note what came of a task, and give its actor, or a new one in its place, the next part."""
        actor, number = self.tasks.pop(task)
        try:
            result = ray.get(task)
        except RayTaskError as error:
            if number is None:
                raise error.cause from None  # no other part would fare better
            self.failures[number] = error.cause
        except RayError as error:  # the actor died, or its node
            log.warning("an actor died at part %s: %s", number, error)
            self._bury(number, error)
            if self.waiting:
                self._start()
            return
        else:
            self.deaths[None] = 0
            if number is not None:
                self.results[number] = result
                log.info("%d of %d parts", len(self.results), self.total)
        if self.waiting:
            number = self.waiting.popleft()
            self.tasks[actor.do.remote(number)] = actor, number
        else:
            ray.kill(actor)

    def _bury(self, number: int | None, error: RayError) -> None:
        self.deaths[number] += not getattr(error, "preempted", False)
        is_given_up = self.deaths[number] > self.retries
        if number is None and is_given_up:
            raise WorkerError(f"{self.deaths[number]} actors ended as they began: {error}")
        if number is not None and is_given_up:
            self.failures[number] = WorkerError(f"its actor died {self.deaths[number]} times")
        elif number is not None:
            self.waiting.appendleft(number)
