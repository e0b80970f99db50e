"""Version strings that compare as versions."""

from __future__ import annotations

import re

_PATTERN = re.compile(
    r"\s*v?(?:(?P<epoch>\d+)!)?(?P<release>\d+(?:\.\d+)*)"
    r"(?:[-_.]?(?P<pre>a|b|c|rc|alpha|beta|pre|preview)[-_.]?(?P<pre_number>\d*))?"
    r"(?:-(?P<post_implicit>\d+)|[-_.]?(?P<post>post|rev|r)[-_.]?(?P<post_number>\d*))?"
    r"(?:[-_.]?(?P<dev>dev)[-_.]?(?P<dev_number>\d*))?"
    r"(?:\+(?P<local>[a-z0-9]+(?:[-_.][a-z0-9]+)*))?\s*",
    re.IGNORECASE,
)
_PRE_RANK = {"a": 0, "alpha": 0, "b": 1, "beta": 1, "c": 2, "rc": 2, "pre": 2, "preview": 2}


def _key(version: str):
    """A tuple that sorts as PEP 440 says; None if the text isn't a version."""
    match = _PATTERN.fullmatch(version)
    if match is None:
        return None
    part = match.groupdict()
    release = [int(number) for number in part["release"].split(".")]
    while len(release) > 1 and release[-1] == 0:
        release.pop()
    has_post = bool(part["post"] or part["post_implicit"])
    if part["pre"]:
        pre = (0, _PRE_RANK[part["pre"].lower()], int(part["pre_number"] or 0))
    else:
        # A development release of a final one comes before its pre-releases.
        pre = (-1,) if part["dev"] and not has_post else (1,)
    post = int(part["post_number"] or part["post_implicit"] or 0) if has_post else -1
    dev = (0, int(part["dev_number"] or 0)) if part["dev"] else (1,)
    local = [
        (1, int(p), "") if p.isdigit() else (0, 0, p)
        for p in re.split("[-_.]", (part["local"] or "").lower())
        if p
    ]
    return int(part["epoch"] or 0), release, pre, post, dev, local


class TorchVersion(str):
    """A string that compares as a version, with strings and with tuples of numbers.

    >>> from flambeau.torch_version import TorchVersion
    >>> TorchVersion("2.13.0+local") > "2.2"
    True
    >>> TorchVersion("2.13.0") >= (2, 13)
    True
    """

    __slots__ = ()

    def _pair(self, other):
        if isinstance(other, (tuple, list)):
            other = ".".join(str(item) for item in other)
        other = str(other)
        ours, theirs = _key(str(self)), _key(other)
        # What can't be read as a version is compared as text.
        return (str(self), other) if ours is None or theirs is None else (ours, theirs)

    def __eq__(self, other):
        ours, theirs = self._pair(other)
        return ours == theirs

    def __lt__(self, other):
        ours, theirs = self._pair(other)
        return ours < theirs

    def __le__(self, other):
        ours, theirs = self._pair(other)
        return ours <= theirs

    def __gt__(self, other):
        ours, theirs = self._pair(other)
        return ours > theirs

    def __ge__(self, other):
        ours, theirs = self._pair(other)
        return ours >= theirs

    def __ne__(self, other):
        return not self == other

    __hash__ = str.__hash__
