"""Language models."""

from __future__ import annotations

import os

from llmzip import _llmzip
from llmzip._errors import ModelMissingError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Union

    PathLike = Union[str, os.PathLike[str]]
    ModelLike = Union["Model", PathLike, None]

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_llmzip.after_fork_in_child)


class Model:
    """A language model, loaded once and shared by all that use it.

    Made by `default` and `open`. Pickled by its name and digest alone: where it is unpickled, the same model must
    be on the machine.

    Attributes
    ----------
    digest : str
        BLAKE3 of all its files in hexadecimal; archives name their model by it.
    label : str
        Its name in archives, for people.
    adapter : str or None
        BLAKE3 of the adapter's files in hexadecimal, where it was opened with one.

    Examples
    --------
    >>> import llmzip
    >>> llmzip.Model.default()
    <llmzip.Model 'default' 88a6cc52c361>
    """

    __slots__ = ("_adapter_name", "_handle", "_name", "adapter", "digest", "label")

    _handle: _llmzip.Model
    _name: str
    _adapter_name: str | None
    digest: str
    label: str
    adapter: str | None

    def __init__(self) -> None:
        raise TypeError("a model is made by Model.default() or Model.open(name)")

    @classmethod
    def _of(cls, handle: _llmzip.Model, name: str, adapter: PathLike | None = None) -> Model:
        if adapter is not None:
            adapter = _whole(adapter)
            handle = handle.with_adapter(adapter)
        model = cls.__new__(cls)
        model._handle, model._name, model._adapter_name = handle, name, adapter
        model.digest, model.label, model.adapter = handle.digest, handle.label, handle.adapter
        return model

    @classmethod
    def default(cls) -> Model:
        """Return the model that comes with the package.

        Returns
        -------
        Model
            Loaded when it is first used.
        """
        return cls._of(_llmzip.Model.default(), "default")

    @classmethod
    def open(cls, name: PathLike, *, adapter: PathLike | None = None) -> Model:
        """Load a model of this machine. Nothing is downloaded: ``llmzip models pull NAME`` does that.

        Parameters
        ----------
        name : str or path-like
            As the program's ``-m`` takes it: a folder with the model's files, a GGUF file, ``ORG/NAME`` of the
            Hugging Face cache, the name of an imported model, ``default``, or ``seed:KIND:WIDTH:SEED``.
        adapter : str or path-like, optional
            A low-rank adapter (LoRA) beside its weights: a folder in PEFT's layout, or the name of an imported one.

        Returns
        -------
        Model

        Raises
        ------
        ModelMissingError
            It is not on this machine, or the adapter is not.
        InvalidModelError
            Its files are damaged, or of another kind.
        InvalidArgumentError
            It can be no model's name; the adapter is for another model.

        Examples
        --------
        >>> llmzip.Model.open("default") == llmzip.Model.default()
        True
        """
        name = _whole(name)
        return cls._of(_llmzip.Model.open(name), name, adapter)

    @classmethod
    def _restore(
        cls,
        name: str,
        digest: str,
        label: str,
        adapter_name: str | None = None,
        adapter: str | None = None,
    ) -> Model:
        try:
            model = cls._of(_llmzip.Model.find(digest, label), name, adapter_name)
        except ModelMissingError:
            if not os.path.exists(name):
                raise
            model = cls.open(name, adapter=adapter_name)
        for what, named, got, expected in (
            ("model", name, model.digest, digest),
            ("adapter", adapter_name, model.adapter, adapter),
        ):
            if got != expected:
                message = f"the {what} in {named!r} has the digest {got}, expected {expected}"
                raise ModelMissingError(message) from None
        return model

    def __reduce__(self) -> tuple[Any, ...]:
        of_adapter = () if self.adapter is None else (self._adapter_name, self.adapter)
        return type(self)._restore, (self._name, self.digest, self.label, *of_adapter)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Model):
            return NotImplemented
        return (self.digest, self.adapter) == (other.digest, other.adapter)

    def __hash__(self) -> int:
        return hash((self.digest, self.adapter))

    def __repr__(self) -> str:
        adapter = "" if self.adapter is None else f" with adapter {self.adapter[:12]}"
        return f"<llmzip.Model {self.label!r} {self.digest[:12]}{adapter}>"


def _whole(name: PathLike) -> str:
    """Return the name of a model or an adapter, a path for processes with another working directory."""
    name = os.fspath(name)
    return os.path.abspath(name) if os.path.exists(name) else name


def handle(model: ModelLike, adapter: PathLike | None = None) -> _llmzip.Model:
    """Return the extension's model for a `Model`, a name, or None for the default one, and an adapter's name."""
    if isinstance(model, Model):
        found = model._handle
    else:
        found = _llmzip.Model.default() if model is None else Model.open(model)._handle
    return found if adapter is None else found.with_adapter(os.fspath(adapter))


def source(
    model: ModelLike = None, adapter: PathLike | None = None, steer: PathLike | None = None
) -> _llmzip.Source:
    """Return where a reader finds what archives name: here first, then among what is on this machine."""
    return _llmzip.Source(None if model is None else handle(model), adapter, steer)
