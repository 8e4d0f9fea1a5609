"""Requests to the Hugging Face hub, each of which ends in time."""

from __future__ import annotations

import concurrent.futures
import importlib
import os
import re
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import NoneType
from typing import Any

__all__ = ["OPTIONS", "extra", "fetch", "first_line", "is_repo", "upload"]

OPTIONS: dict[str, tuple[type, ...]] = {
    "force_download": (bool,),
    "token": (str, bool, NoneType),
    "cache_dir": (str, os.PathLike, NoneType),
    "local_files_only": (bool,),
    "revision": (str, NoneType),
}
_TIMEOUT = 10.0  # seconds in which a request must be answered
_PATIENCE = 3.0  # such times without a byte until a transfer is given up
_UPLOAD = 1e5  # bytes a second that an upload must reach beyond that
_REPO = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def fetch(repo_id: str, names: Sequence[str], *values: Any) -> Path:
    """Return the local folder of some files of a repository, by the values of :data:`OPTIONS`.

    Raises:
        FileNotFoundError: If they cannot be fetched, and have not been fetched before.
    """
    options = dict(zip(OPTIONS, values, strict=True))
    missing = f"no folder {repo_id}, and "
    hub = extra("huggingface_hub", missing)
    local, revision, failure = options.pop("local_files_only"), options.pop("revision"), None
    try:
        if not local:
            try:
                api = hub.HfApi(token=options["token"])
                # Of one commit, if another is made while both files are fetched.
                ask = partial(api.model_info, repo_id, revision=revision, timeout=_TIMEOUT)
                revision = _in_time(ask).sha
            except Exception as error:
                if options["force_download"]:
                    raise
                local, failure = True, error  # it may have been fetched before
        options.update(local_files_only=local, revision=revision, etag_timeout=_TIMEOUT)
        cache = Path(options["cache_dir"] or hub.constants.HF_HUB_CACHE)
        cache = cache / f"models--{repo_id.replace('/', '--')}"
        one = partial(hub.hf_hub_download, repo_id, **options)
        files = _in_time(lambda: list(map(one, names)), watched=lambda: _size(cache))
        return Path(files[0]).parent
    except Exception as error:
        missing += "no such model could be fetched from the hub"
        raise FileNotFoundError(f"{missing} ({first_line(failure or error)})") from error


def upload(
    repo_id: str,
    folder: str,
    *,
    token: str | None,
    private: bool | None,
    **options: Any,
) -> str:
    """Upload a folder in one commit to a repository, made if need be; return its address.

    Raises:
        ConnectionError: If the hub does not answer, or it takes too long.
    """
    hub = extra("huggingface_hub")
    api = hub.HfApi(token=token)
    try:
        _in_time(lambda: api.model_info(repo_id, timeout=_TIMEOUT))
    except hub.utils.HfHubHTTPError:  # it answers
        pass
    except Exception as error:
        raise ConnectionError(f"the hub does not answer ({first_line(error)})") from error

    def send() -> Any:
        name = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        return api.upload_folder(repo_id=name, folder_path=folder, **options)

    return str(_in_time(send, _size(Path(folder)) / _UPLOAD))


def is_repo(name: Any) -> bool:
    """Return whether a name is one that the hub permits, ``"owner/name"``."""
    if not isinstance(name, str) or not _REPO.fullmatch(name) or len(name) > 96:
        return False
    return not re.search(r"--|\.\.|[.-](/|$)|\.git$", name)


def extra(name: str, so_far: str = "") -> Any:
    """Return a package that is not always installed.

    Raises:
        ImportError: If it is missing.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(f"{so_far}{name} is missing: pip install 'compvae-pyg[hub]'") from error


def first_line(error: Exception) -> str:
    """Return what an error says, in one line."""
    return (str(error).strip() or type(error).__name__).split("\n")[0]


def _in_time(
    call: Callable[[], Any], more: float = 0.0, watched: Callable[[], int] = lambda: 0
) -> Any:
    """Return what a call to the hub returns, unless it takes too long while nothing changes.

    The client repeats what failed, and has no timeouts for some of its requests.

    Raises:
        ConnectionError: If the hub does not answer in time, or cannot be reached.
    """
    done: concurrent.futures.Future[Any] = concurrent.futures.Future()

    def run() -> None:
        try:
            done.set_result(call())
        except BaseException as error:
            done.set_exception(error)

    # A daemon: the program can end while the client waits on.
    threading.Thread(target=run, daemon=True).start()
    seconds, seen = _PATIENCE * _TIMEOUT + more, -1
    while not done.done():
        if (size := watched()) != seen:
            seen, deadline = size, time.monotonic() + seconds
        if time.monotonic() > deadline:
            raise ConnectionError(f"the hub does not answer (waited {seconds:.0f} s)")
        with suppress(TimeoutError, concurrent.futures.TimeoutError):
            done.exception(timeout=min(0.2, seconds))
    return done.result()


def _size(folder: Path) -> int:
    """Return the number of bytes in a folder, in which files may come and go."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            total += path.lstat().st_size
    return total
