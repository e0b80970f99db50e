"""`FileCheck`: which pieces a text holds, in which order."""

from __future__ import annotations

import re

#: A line of instructions in a text: the check's name, how many times, and the piece.
_INSTRUCTION = re.compile(
    r"CHECK(?:-(NEXT|SAME|NOT|DAG|REGEX|SOURCE-HIGHLIGHTED|COUNT(?:-EXACTLY)?)(?:-(\d+))?)?: ?(.*)"
)


class FileCheck:
    """Pieces that a text must hold one after the other; `run` looks for them.

    >>> from flambeau.testing import FileCheck
    >>> FileCheck().check("def f").check_next("return").check_not("import").run("def f():\\n    return 1")
    >>> FileCheck().check("b").check("a").run("a b")
    Traceback (most recent call last):
    ...
    RuntimeError: Expected to find "a" but did not find it
    Searched string:
    a b
    From CHECK: a
    """

    def __init__(self):
        self._checks: list[tuple[str, str, int]] = []

    def _add(self, kind: str, text: str, count: int = 1) -> FileCheck:
        self._checks.append((kind, text, count))
        return self

    def check(self, text: str) -> FileCheck:
        """Next, somewhere, this."""
        return self._add("", text)

    def check_next(self, text: str) -> FileCheck:
        """On the next line, this."""
        return self._add("NEXT", text)

    def check_same(self, text: str) -> FileCheck:
        """On the same line, this."""
        return self._add("SAME", text)

    def check_not(self, text: str) -> FileCheck:
        """Before what is looked for next, or before the end, nowhere this."""
        return self._add("NOT", text)

    def check_dag(self, text: str) -> FileCheck:
        """Next, somewhere, this; in any order with the neighbours that are added by this method too."""
        return self._add("DAG", text)

    def check_count(self, text: str, count: int, exactly: bool = False) -> FileCheck:
        """Next this so many times; with `exactly`, not once more before what is looked for next."""
        if count == 0 and not exactly:
            raise RuntimeError("check_count: a count of 0 asks for nothing, unless with exactly=True")
        self._add("COUNT", text, count)
        return self._add("NOT", text) if exactly else self

    def check_regex(self, text: str) -> FileCheck:
        """Next, somewhere, what this regular expression matches."""
        return self._add("REGEX", text)

    def check_source_highlighted(self, text: str) -> FileCheck:
        """Next, somewhere, this, with tildes under all of it on the line below."""
        return self._add("SOURCE-HIGHLIGHTED", text)

    def run(self, checks_file: str, test_file: str | None = None) -> None:
        """Look for the pieces.

        Args:
            checks_file: the text; or instructions, lines like ``# CHECK-NEXT: piece``, for a text that follows.
            test_file: the text, where instructions come before it.

        Raises:
            RuntimeError: something is missing, or there that must not be.
        """
        text = checks_file if test_file is None else test_file
        if test_file is not None:
            self._checks = []
            for line in checks_file.splitlines():
                self._read(line)
        if not self._checks:
            raise RuntimeError(
                "No checks have been added to this instance of FileCheck! Check for bad input."
            )
        place, forbidden, dags = 0, [], []
        for kind, piece, count in self._checks:
            if kind == "NOT":
                place = self._end_of(dags, text, place)
                dags = []
                forbidden.append(piece)
                continue
            if kind == "DAG":
                dags.append(piece)
                start, end = self._find(text, piece, place, kind)
            else:
                place = self._end_of(dags, text, place)
                dags = []
                start, end = self._match(text, kind, piece, count, place)
            self._refuse(text, forbidden, place, start)
            forbidden = []
            if kind != "DAG":
                place = end
        self._refuse(text, forbidden, self._end_of(dags, text, place), len(text))

    def _read(self, line: str) -> None:
        found = _INSTRUCTION.search(line)
        if found is None:
            return
        kind, count, piece = found[1] or "", int(found[2] or 1), found[3].rstrip()
        if kind.startswith("COUNT"):
            self.check_count(piece, count, exactly=kind.endswith("EXACTLY"))
        else:
            self._add(kind, piece)

    def _end_of(self, dags: list[str], text: str, place: int) -> int:
        return max((self._find(text, piece, place, "DAG")[1] for piece in dags), default=place)

    def _match(self, text: str, kind: str, piece: str, count: int, place: int) -> tuple[int, int]:
        """Where a check holds: from where to where."""
        if kind == "REGEX":
            found = re.compile(piece).search(text, place)
            if found is None:
                self._fail(text, kind, piece)
            return found.span()
        if kind == "SOURCE-HIGHLIGHTED":
            return self._highlighted(text, piece, place)
        start, end = place, place
        for i in range(count):
            first, end = self._find(text, piece, end, kind)
            start = start if i else first
        if kind in ("NEXT", "SAME") and text.count("\n", place, start) != (kind == "NEXT"):
            where = text.find("\n", text.find("\n", place) + 1 if kind == "NEXT" else place)
            if where < 0 or text.count("\n", place, start) == 0:
                where = place
            self._found(text, "\n", where, f"{kind}: {piece}")
        return start, end

    def _find(self, text: str, piece: str, place: int, kind: str) -> tuple[int, int]:
        start = text.find(piece, place)
        if start < 0:
            self._fail(text, kind, piece)
        return start, start + len(piece)

    def _highlighted(self, text: str, piece: str, place: int) -> tuple[int, int]:
        while True:
            start, end = self._find(text, piece, place, "SOURCE-HIGHLIGHTED")
            column = start - (text.rfind("\n", 0, start) + 1)
            below = text[text.find("\n", end) + 1 :].split("\n", 1)[0] if "\n" in text[end:] else ""
            if below[column : column + len(piece)] == "~" * len(piece):
                return start, text.find("\n", end) + 1 + column + len(piece)
            place = start + 1

    def _refuse(self, text: str, forbidden: list[str], start: int, end: int) -> None:
        for piece in forbidden:
            where = text.find(piece, start, end)
            if where >= 0:
                self._found(text, piece, where, f"NOT: {piece}")

    def _fail(self, text: str, kind: str, piece: str):
        name = f"CHECK-{kind}" if kind else "CHECK"
        raise RuntimeError(
            f'Expected to find "{piece}" but did not find it\nSearched string:\n{text}\nFrom {name}: {piece}\n'
        )

    def _found(self, text: str, piece: str, where: int, check: str):
        line = text.rfind("\n", 0, where) + 1
        end = text.find("\n", where)
        end = len(text) if end < 0 else end
        mark = "" if piece == "\n" else "\n" + " " * (where - line) + "~" * len(piece) + " <--- HERE"
        shown = text[:end] + mark + text[end:]
        raise RuntimeError(
            f'Expected to not find "{piece}" but found it\n{shown}\nFrom CHECK-{check}\n'.replace(
                '"\n"', '"\\n"'
            )
        )
