"""Weights and models from elsewhere: a cache of downloaded files, and ``hubconf.py`` of a folder.

Repositories on GitHub are not fetched; clone one and give its folder with ``source="local"``.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import sys
import tempfile
import warnings
import zipfile
from urllib.parse import urlparse
from urllib.request import Request, urlopen

__all__ = [
    "download_url_to_file",
    "get_dir",
    "help",
    "list",
    "load",
    "load_state_dict_from_url",
    "set_dir",
]

#: Finds the hash in names such as ``resnet18-bbd1b3a9.pth``.
HASH_REGEX = re.compile(r"-([a-f0-9]*)\.")
_BLOCK = 1 << 17
_folder: str | None = None


def _get_torch_home() -> str:
    cache = os.getenv("XDG_CACHE_HOME", os.path.join("~", ".cache"))
    return os.path.expanduser(os.getenv("TORCH_HOME", os.path.join(cache, "torch")))


def get_dir() -> str:
    """The folder of what has been downloaded: `set_dir`'s, or ``$TORCH_HOME/hub``, or ``~/.cache/torch/hub``
    (``$XDG_CACHE_HOME`` instead of ``~/.cache``, if it is set)."""
    return os.path.join(_get_torch_home(), "hub") if _folder is None else _folder


def set_dir(d) -> None:
    """Use another folder for what is downloaded."""
    global _folder
    _folder = os.path.expanduser(d)


def download_url_to_file(url: str, dst: str, hash_prefix: str | None = None, progress: bool = True) -> None:
    """Download a file; it appears under its name when it is complete.

    Args:
        url: where it is.
        dst: its path here.
        hash_prefix: the first digits of its SHA-256.
        progress: show a bar, if tqdm is installed.

    Raises:
        RuntimeError: the file's hash begins differently.
    """
    dst = os.path.expanduser(dst)
    digest = hashlib.sha256()
    with urlopen(Request(url, headers={"User-Agent": "torch.hub"})) as source:
        length = source.headers.get("Content-Length")
        handle, partial = tempfile.mkstemp(dir=os.path.dirname(os.path.abspath(dst)), suffix=".partial")
        try:
            with os.fdopen(handle, "wb") as file, _bar(int(length) if length else None, progress) as bar:
                while block := source.read(_BLOCK):
                    file.write(block)
                    digest.update(block)
                    bar.update(len(block))
            if hash_prefix and not digest.hexdigest().startswith(hash_prefix):
                raise RuntimeError(
                    f'invalid hash value (expected "{hash_prefix}", got "{digest.hexdigest()}") of {url}'
                )
            os.replace(partial, dst)
        except BaseException:
            os.unlink(partial)
            raise


class _NoBar:
    def __enter__(self):
        return self

    def __exit__(self, *exc):
        return None

    def update(self, n):
        pass


def _bar(total, wanted: bool):
    if not wanted:
        return _NoBar()
    try:
        from tqdm import tqdm
    except ImportError:
        return _NoBar()
    return tqdm(total=total, unit="B", unit_scale=True, unit_divisor=1024)


def load_state_dict_from_url(
    url: str,
    model_dir: str | None = None,
    map_location=None,
    progress: bool = True,
    check_hash: bool = False,
    file_name: str | None = None,
    weights_only: bool = True,
):
    """The object in a saved file, which is downloaded unless it is in `model_dir` already.

    Args:
        url: where it is.
        model_dir: the folder; by default ``checkpoints`` in `get_dir`.
        map_location: see `flambeau.load`.
        progress: show a bar.
        check_hash: compare with the hash in the name, such as ``-bbd1b3a9`` before the suffix.
        file_name: the name here, if it is to be another.
        weights_only: see `flambeau.load`. The default is the safe one.
    """
    import flambeau

    folder = os.path.join(get_dir(), "checkpoints") if model_dir is None else model_dir
    os.makedirs(folder, exist_ok=True)
    name = file_name or os.path.basename(urlparse(url).path)
    path = os.path.join(folder, name)
    if not os.path.exists(path):
        sys.stderr.write(f'Downloading: "{url}" to {path}\n')
        match = HASH_REGEX.search(name) if check_hash else None
        download_url_to_file(url, path, match.group(1) if match else None, progress)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if len(names) == 1 and not names[0].startswith("archive/"):
            warnings.warn("Falling back to the old format < 1.6: a zip file of one saved file.", stacklevel=2)
            with zipfile.ZipFile(path) as archive, archive.open(names[0]) as file:
                return flambeau.load(file, map_location=map_location, weights_only=weights_only)
    return flambeau.load(path, map_location=map_location, weights_only=weights_only)


def _hubconf(repo_or_dir, source: str):
    if source not in ("github", "local"):
        raise ValueError(f'Unknown source: "{source}". Allowed values: "github" | "local".')
    if source == "github":
        raise RuntimeError(
            f"torch.hub: flambeau fetches no repositories. Clone https://github.com/{repo_or_dir} and give its folder "
            'with source="local"'
        )
    path = os.path.join(repo_or_dir, "hubconf.py")
    spec = importlib.util.spec_from_file_location("hubconf", path)
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(repo_or_dir))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(repo_or_dir))
    missing = [name for name in getattr(module, "dependencies", ()) if importlib.util.find_spec(name) is None]
    if missing:
        raise RuntimeError(f"Missing dependencies: {', '.join(missing)}")
    return module


def _entry(module, name: str):
    function = getattr(module, name, None)
    if not callable(function):
        raise RuntimeError(f"Cannot find callable {name} in hubconf")
    return function


def load(
    repo_or_dir,
    model,
    *args,
    source="github",
    trust_repo=None,
    force_reload=False,
    verbose=True,
    skip_validation=False,
    **kwargs,
):
    """Call the function `model` of a folder's ``hubconf.py`` and return its result.

    Args:
        repo_or_dir: the folder.
        model: the function's name.
        args, kwargs: for the function.
        source: ``"local"``. Repositories on GitHub are not fetched.
    """
    return _entry(_hubconf(repo_or_dir, source), model)(*args, **kwargs)


def list(github, force_reload=False, skip_validation=False, trust_repo=None, verbose=True, source="local"):
    """Names of the functions in a folder's ``hubconf.py``."""
    module = _hubconf(github, "local" if os.path.isdir(github) else "github")
    return [name for name, value in vars(module).items() if callable(value) and not name.startswith("_")]


def help(github, model, force_reload=False, skip_validation=False, trust_repo=None, source="local"):
    """The documentation of a function in a folder's ``hubconf.py``."""
    return _entry(_hubconf(github, "local" if os.path.isdir(github) else "github"), model).__doc__
