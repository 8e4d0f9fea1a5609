"""Files that are replaced as a whole, archives that show damage, and locks."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

__all__ = [
    "Lines",
    "csv_line",
    "is_sealed",
    "locked",
    "mark",
    "read_archive",
    "replace_file",
    "seal",
    "sync_folder",
    "write_archive",
]

_DIGEST = hashlib.sha256().digest_size


def replace_file(path: Path, content: bytes) -> None:
    """Replace a file by one of this content, which is on the disk when this returns.

    It is written beside the target, into a file of its own that then takes the place. Whatever
    happens meanwhile, there is the old file or the new one.

    Raises:
        OSError: If it cannot be written; the old file is as it was.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "new" / "file"
        >>> replace_file(path, b"whole")
        >>> path.read_bytes()
        b'whole'
    """
    partial = path.with_name(f"{path.name}.partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise OSError(error.errno, error.strerror, str(path)) from error
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Bring the names of a folder's files to the disk, where the system can."""
    with suppress(OSError):  # Windows opens no folders
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def locked(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold the lock of a folder or a file, which is made if need be; its death frees a process.

    Nothing is locked on Windows, nor on drives that cannot lock.

    Raises:
        BlockingIOError: If another process holds it, unless asked to wait.

    Example:
        >>> import tempfile
        >>> with locked(Path(tempfile.mkdtemp())):
        ...     pass
    """
    try:
        import fcntl
    except ImportError:
        yield
        return
    # Network drives lock what is open for writing alone, which folders cannot be.
    how = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
    descriptor = os.open(path, how, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise
        except OSError:
            pass
        yield
    finally:
        os.close(descriptor)


def write_archive(path: Path, value: Any) -> None:
    """Replace a file by what ``torch.save`` makes of a value, with a digest, see :func:`seal`.

    Raises:
        OSError: If it cannot be written; the old file is as it was.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "archive"
        >>> write_archive(path, {"step": 3})
        >>> read_archive(path)
        {'step': 3}
    """
    content = io.BytesIO()
    torch.save(value, content)
    try:
        replace_file(path, seal(content.getvalue()))
    except OSError as error:
        kept = "the last one is as it was" if path.exists() else "there is none before it"
        reason = f"no checkpoint could be written ({error.strerror}); {kept}"
        raise OSError(error.errno, reason, str(path)) from error


def read_archive(path: Path, device: Any = "cpu", *, weights_only: bool = True) -> Any:
    """Return the value that was written; unless asked otherwise, no code in the file is executed.

    Raises:
        ValueError: If a bit of the file has changed since, or others wrote it.
    """
    content, cause = path.read_bytes(), None
    try:
        if is_sealed(content):
            return torch.load(io.BytesIO(content), device, weights_only=weights_only)
    except (RuntimeError, ValueError, EOFError, UnpicklingError) as error:
        cause = error  # what torch says of it fills a screen
    raise ValueError(f"{path} is damaged or no archive of tensors and plain values") from cause


def mark(path: Path) -> tuple[int, int] | None:
    """Tell a file from one that is written in its place; ``None`` where there is none.

    Example:
        >>> mark(Path("no such file"))
    """
    status = path.stat() if path.exists() else None
    return None if status is None else (status.st_ino, status.st_mtime_ns)


def seal(archive: bytes) -> bytes:
    """Return a zip archive that has no comment with a digest of all its bytes as its comment.

    Example:
        >>> import io, zipfile
        >>> file = io.BytesIO()
        >>> with zipfile.ZipFile(file, "w") as archive:
        ...     archive.writestr("name", "content")
        >>> sealed = seal(file.getvalue())
        >>> is_sealed(sealed), zipfile.ZipFile(io.BytesIO(sealed)).read("name")
        (True, b'content')
    """
    content = archive[:-2] + _DIGEST.to_bytes(2, "little")  # the length of the comment
    return content + hashlib.sha256(content).digest()


def is_sealed(content: bytes) -> bool:
    """Tell whether these are the bytes that :func:`seal` returned, all of them.

    Example:
        >>> is_sealed(b"anything else")
        False
    """
    body, digest = memoryview(content)[:-_DIGEST], content[-_DIGEST:]
    return hashlib.sha256(body).digest() == digest


def csv_line(values: Iterable[Any]) -> str:
    r"""Return a line of a CSV file, with its end.

    Example:
        >>> csv_line([1, "a,b"])
        '1,"a,b"\n'
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue()


class Lines:
    r"""A file of lines in UTF-8, all of which are kept as well, so that it can be made anew.

    Args:
        path: The file.
        text: The lines to begin with.

    Example:
        >>> import tempfile
        >>> lines = Lines(Path(tempfile.mkdtemp()) / "file", "one\\n")
        >>> lines.restore()
        >>> lines.append("two\\n")
        >>> lines.path.read_text() == lines.text
        True
    """

    def __init__(self, path: Path, text: str) -> None:
        self.path, self.text = path, text

    def restore(self, warn: bool = False) -> None:
        """Make the file hold the lines and no others; warn, if asked, where it lacks any."""
        content = self.text.encode()
        found = self.path.read_bytes() if self.path.exists() else b""
        if warn and not found.startswith(content):
            message = f"{self.path} was damaged or removed, and is made anew"
            warnings.warn(message, RuntimeWarning, stacklevel=2)
        if found != content:
            replace_file(self.path, content)

    def append(self, line: str) -> None:
        """Write one more line, or all if the file was removed."""
        self.text += line
        if not self.path.exists():
            return self.restore(warn=True)
        try:
            with self.path.open("ab") as file:
                file.write(line.encode())
        except OSError as error:  # which names no file
            raise OSError(error.errno, error.strerror, str(self.path)) from error

    def sync(self) -> None:
        """Bring the lines to the disk."""
        if self.path.exists():
            with self.path.open("rb+") as file:
                os.fsync(file.fileno())
