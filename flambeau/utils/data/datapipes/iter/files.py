"""Files: their names, the opened files, their contents."""

from __future__ import annotations

import fnmatch
import os
import warnings

from .._decorator import functional_datapipe
from ..datapipe import IterDataPipe, name_as_in_pytorch
from .simple import IterableWrapper


@functional_datapipe("list_files")
class FileLister(IterDataPipe):
    """The paths of files in folders whose names match one of `masks`, in order unless `non_deterministic`.

    Args:
        root: a folder, several, or a pipe of them.
        masks: a pattern as in a shell, or several. Default: all files.
        recursive: look into folders in them, too.
        abspath: give absolute paths.
        length: what ``len`` is to say.
    """

    def __init__(
        self, root=".", masks="", *, recursive=False, abspath=False, non_deterministic=False, length=-1
    ):
        if isinstance(root, str):
            root = [root]
        self.datapipe = root if isinstance(root, IterDataPipe) else IterableWrapper(root)
        self.masks = masks
        self.recursive = recursive
        self.abspath = abspath
        self.non_deterministic = non_deterministic
        self.length = length

    def _matches(self, name):
        masks = [self.masks] if isinstance(self.masks, str) else self.masks
        return not self.masks or any(fnmatch.fnmatch(name, mask) for mask in masks)

    def __iter__(self):
        for root in self.datapipe:
            root = os.path.abspath(root) if self.abspath else root
            if not os.path.isdir(root):
                warnings.warn(f"{root} is not a folder", stacklevel=2)
            for folder, folders, names in os.walk(root):
                if not self.non_deterministic:
                    folders.sort()
                    names.sort()
                for name in names:
                    if self._matches(name):
                        yield os.path.join(folder, name)
                if not self.recursive:
                    break

    def __len__(self):
        if self.length == -1:
            raise TypeError(f"{type(self).__name__} instance doesn't have valid length")
        return self.length


@functional_datapipe("open_files")
class FileOpener(IterDataPipe):
    """(path, opened file) for every path; each file is closed when the next is asked for."""

    def __init__(self, datapipe, mode="r", encoding=None, length=-1):
        if mode not in ("b", "t", "rb", "rt", "r"):
            raise ValueError(f"Invalid mode {mode}")
        if "b" in mode and encoding is not None:
            raise ValueError("binary mode doesn't take an encoding argument")
        self.datapipe = datapipe
        self.mode = mode if "r" in mode else "r" + mode
        self.encoding = encoding
        self.length = length

    def __iter__(self):
        for path in self.datapipe:
            if not isinstance(path, (str, os.PathLike)):
                raise TypeError(f"Expected a path as string, but got {type(path)}")
            with open(path, self.mode, encoding=self.encoding) as file:
                yield path, file

    def __len__(self):
        if self.length == -1:
            raise TypeError(f"{type(self).__name__} instance doesn't have valid length")
        return self.length


@functional_datapipe("read_from_stream")
class StreamReader(IterDataPipe):
    """(name, contents) for every (name, opened file), in pieces of `chunk` bytes or characters if given."""

    def __init__(self, datapipe, chunk=None):
        self.datapipe = datapipe
        self.chunk = chunk

    def __iter__(self):
        for name, file in self.datapipe:
            while True:
                piece = file.read(-1 if self.chunk is None else self.chunk)
                if not piece:
                    file.close()
                    break
                yield name, piece


name_as_in_pytorch(globals(), IterDataPipe, FileLister, FileOpener, StreamReader)
