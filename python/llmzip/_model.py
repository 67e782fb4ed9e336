"""Language models."""

from __future__ import annotations

import os

from llmzip import _llmzip
from llmzip._errors import ModelMissingError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Union

    ModelLike = Union["Model", str, os.PathLike[str], None]

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

    Examples
    --------
    >>> import llmzip
    >>> llmzip.Model.default()
    <llmzip.Model 'default' 88a6cc52c361>
    """

    __slots__ = ("_handle", "_name", "digest", "label")

    _handle: _llmzip.Model
    _name: str
    digest: str
    label: str

    def __init__(self) -> None:
        raise TypeError("a model is made by Model.default() or Model.open(name)")

    @classmethod
    def _of(cls, handle: _llmzip.Model, name: str) -> Model:
        model = cls.__new__(cls)
        model._handle, model._name = handle, name
        model.digest, model.label = handle.digest, handle.label
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
    def open(cls, name: str | os.PathLike[str]) -> Model:
        """Load a model of this machine. Nothing is downloaded: ``llmzip models pull NAME`` does that.

        Parameters
        ----------
        name : str or path-like
            As the program's ``-m`` takes it: a folder with the model's files, a GGUF file, ``ORG/NAME`` of the
            Hugging Face cache, the name of an imported model, ``default``, or ``seed:KIND:WIDTH:SEED``.

        Returns
        -------
        Model

        Raises
        ------
        ModelMissingError
            It is not on this machine.
        InvalidModelError
            Its files are damaged, or of another kind.
        InvalidArgumentError
            It can be no model's name.

        Examples
        --------
        >>> llmzip.Model.open("default") == llmzip.Model.default()
        True
        """
        name = os.fspath(name)
        if os.path.exists(name):
            name = os.path.abspath(name)  # for processes with another working directory
        return cls._of(_llmzip.Model.open(name), name)

    @classmethod
    def _restore(cls, name: str, digest: str, label: str) -> Model:
        try:
            return cls._of(_llmzip.Model.find(digest, label), name)
        except ModelMissingError:
            if not os.path.exists(name):
                raise
            model = cls.open(name)
            if model.digest != digest:
                message = f"the model in {name!r} has the digest {model.digest}, expected {digest}"
                raise ModelMissingError(message) from None
            return model

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self)._restore, (self._name, self.digest, self.label)

    def __eq__(self, other: object) -> bool:
        return self.digest == other.digest if isinstance(other, Model) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"<llmzip.Model {self.label!r} {self.digest[:12]}>"


def handle(model: ModelLike) -> _llmzip.Model:
    """Return the extension's model for a `Model`, a name, or None for the default one."""
    if model is None:
        return _llmzip.Model.default()
    return (model if isinstance(model, Model) else Model.open(model))._handle
