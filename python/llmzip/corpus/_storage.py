"""Files by path, or by URL where fsspec is installed: read by ranges, and written so that they appear whole."""

from __future__ import annotations

import contextlib
import io
import os
import secrets
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, BinaryIO

DRAFT = ".llmzip-"
"""What names of files begin with that are not complete, or are there for a while."""


def is_url(path: str) -> bool:
    """Whether fsspec is asked for it."""
    return "://" in path


def join(folder: str, name: str) -> str:
    """Return the path of a file in a folder; parts of `name` are separated by ``/`` everywhere."""
    return f"{folder.rstrip('/')}/{name}" if is_url(folder) else os.path.join(folder, name)


def _filesystem(url: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise ImportError(f"{url} takes fsspec: pip install fsspec") from error
    filesystem, path = url_to_fs(url)
    return filesystem, path


def length(path: str) -> int:
    """Return the bytes of a regular file, which can be opened.

    Raises
    ------
    OSError
        It cannot, or is a folder, a pipe or a device.
    """
    if is_url(path):
        filesystem, inner = _filesystem(path)
        about = filesystem.info(inner)
        if about["type"] != "file":
            raise IsADirectoryError(f"{path} is no file")
        return int(about["size"])
    about = os.stat(path)
    if not stat.S_ISREG(about.st_mode):  # before it is opened: a pipe would be waited for
        raise OSError(f"{path} is no regular file")
    with io.open(path, "rb") as file:
        return os.fstat(file.fileno()).st_size


def read(path: str, start: int, end: int) -> bytes:
    """Return the bytes from `start` to `end`, fewer where the file ends before."""
    if is_url(path):
        filesystem, inner = _filesystem(path)
        return bytes(filesystem.cat_file(inner, start=start, end=end)) if end > start else b""
    with io.open(path, "rb") as file:
        file.seek(start)
        return file.read(end - start)


@contextlib.contextmanager
def create(path: str) -> Iterator[BinaryIO]:
    """Open a file to write that appears under its name when it is complete, and replaces what was there.

    Left by an exception, it leaves nothing; killed, a draft whose name begins with ``.llmzip-``.
    """
    if is_url(path):
        filesystem, inner = _filesystem(path)
        with filesystem.transaction, filesystem.open(inner, "wb") as file:
            yield file
        return
    folder, name = os.path.split(path)
    os.makedirs(folder or ".", exist_ok=True)
    draft = os.path.join(folder, f"{DRAFT}{name}.{secrets.token_hex(8)}.tmp")
    try:
        with io.open(draft, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(draft)
        raise
    _sync(folder or ".")


def _sync(folder: str) -> None:
    """Bring the names in a folder to the disk, where the file system can."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(handle)
    finally:
        os.close(handle)


def write(path: str, data: bytes) -> None:
    """Write a whole file; in an object store that is one request."""
    if is_url(path):
        filesystem, inner = _filesystem(path)
        filesystem.pipe_file(inner, data)
        return
    with create(path) as file:
        file.write(data)


def remove(path: str) -> None:
    """Remove a file, if it is there."""
    if is_url(path):
        filesystem, inner = _filesystem(path)
        if filesystem.exists(inner):
            filesystem.rm_file(inner)
        return
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def names(folder: str) -> list[str]:
    """Return the names of the files in a folder, drafts not among them; none where there is no folder."""
    if is_url(folder):
        filesystem, inner = _filesystem(folder)
        if not filesystem.isdir(inner):
            return []
        return sorted(path.rsplit("/", 1)[-1] for path in filesystem.ls(inner, detail=False))
    try:
        return sorted(name for name in os.listdir(folder) if not name.startswith(DRAFT))
    except FileNotFoundError:
        return []


def remove_drafts(folder: str) -> None:
    """Remove what killed processes left in a folder."""
    if not is_url(folder) and os.path.isdir(folder):
        for name in os.listdir(folder):
            if name.startswith(DRAFT) and name.endswith(".tmp"):
                remove(os.path.join(folder, name))


def remove_empty(folder: str) -> None:
    """Remove a folder where it is one, and empty; object stores have none."""
    if not is_url(folder):
        with contextlib.suppress(OSError):
            os.rmdir(folder)


def find(path: str) -> list[str]:
    """Return the path itself, or of a folder the files in it and below, in the order of their names."""
    if is_url(path):
        filesystem, inner = _filesystem(path)
        if not filesystem.isdir(inner):
            return [path]
        return sorted(str(filesystem.unstrip_protocol(name)) for name in filesystem.find(inner))
    if not os.path.isdir(path):
        return [path]
    below = (os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names)
    return sorted(name for name in below if not os.path.basename(name).startswith(DRAFT))


def root_of(paths: list[str]) -> tuple[str, list[str]]:
    """Return the folder that all of them are in, and their names in it, separated by ``/``.

    Raises
    ------
    ValueError
        They have no folder in common, or two of them are one.
    """
    if len({path.split("://")[0] if is_url(path) else "" for path in paths}) > 1:
        raise ValueError("the inputs are on several file systems: a corpus is of one")
    if is_url(paths[0]):
        separator, whole = "/", paths
    else:
        separator, whole = os.sep, [os.path.abspath(path) for path in paths]
    split = [path.split(separator) for path in whole]
    shared = os.path.commonprefix([parts[:-1] for parts in split])
    names = ["/".join(parts[len(shared) :]) for parts in split]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the input {twice} is named twice")
    return separator.join(shared) or separator, names
