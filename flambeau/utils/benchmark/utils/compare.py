"""Tables of measurements."""

from __future__ import annotations

import enum
from collections.abc import Iterable

from .common import Measurement, ordered_unique, select_unit, trim_sigfig, unit_to_english

__all__ = ["Colorize", "Compare"]

_GAP = "  |  "
#: Escape sequences from a number of times the best on; 1 stands for the best itself.
_COLORS = ((5, "\033[31m\033[1m"), (2, "\033[2m\033[91m"), (1.1, ""), (1, "\033[34m\033[1m"))
_BEST, _END = "\033[92m\033[1m", "\033[0m\033[0m"


class Colorize(enum.Enum):
    """Among which results of a table the best is looked for."""

    NONE = "none"
    COLUMNWISE = "columnwise"
    ROWWISE = "rowwise"


def _colored(text: str, value: float, best: float) -> str:
    if value <= best:
        return _BEST + text + _END
    ratio = value / best
    # Up to a tenth above the best is as good; otherwise a threshold belongs to the worse side.
    color = next(
        c for limit, c in _COLORS if (ratio > limit if limit == 1.1 else ratio >= limit * (1 - 1e-9))
    )
    return color + text + _END if color else text


def _decimals(value: float, figures: int) -> int:
    """Digits after the point that a number with so many significant figures has."""
    exponent = int(f"{value:.{figures - 1}e}".partition("e")[2])
    return max(figures - 1 - exponent, 0)


class Compare:
    """A table of measurements for each label: a row for each sub-label, a column for each description.

    Rows stand in groups by number of threads. Measurements of the same task are one. Settings, which hold from then on:
    `trim_significant_figures`, `colorize`, `highlight_warnings`.

    >>> from flambeau.utils.benchmark import Compare, Measurement, TaskSpec
    >>> def took(seconds, row, column):
    ...     return Measurement(1, [seconds], TaskSpec("f()", "", label="f", sub_label=row, description=column))
    >>> Compare([took(1e-6, "small", "old"), took(5e-4, "large", "old"), took(3e-4, "large", "new")]).print()
    [------------- f -------------]
                 |   old   |   new
    1 threads: --------------------
          small  |    1.0  |
          large  |  500.0  |  300.0
    <BLANKLINE>
    Times are in microseconds (us).
    <BLANKLINE>
    """

    def __init__(self, results: list[Measurement]):
        self._results: list[Measurement] = []
        self.extend_results(results)
        self._trim, self._warn, self._color = False, False, Colorize.NONE

    def __str__(self) -> str:
        return "\n".join(self._render())

    def extend_results(self, results: Iterable[Measurement]) -> None:
        """Add measurements.

        Raises:
            ValueError: something that is not a measurement.
        """
        results = list(results)
        for result in results:
            if not isinstance(result, Measurement):
                raise ValueError(f"Expected an instance of `Measurement`, got {type(result)} instead.")
        self._results += results

    def trim_significant_figures(self) -> None:
        """Show only the digits that can be believed."""
        self._trim = True

    def colorize(self, rowwise: bool = False) -> None:
        """Show good times green and bad ones red, within a column or within a row, for terminals."""
        self._color = Colorize.ROWWISE if rowwise else Colorize.COLUMNWISE

    def highlight_warnings(self) -> None:
        """Mark measurements whose times vary much."""
        self._warn = True

    def print(self) -> None:
        """Print the tables."""
        print(str(self))

    def _render(self) -> list[str]:
        merged = Measurement.merge(self._results)
        return [
            self._table([m for m in merged if m.label == label])
            for label in ordered_unique(m.label for m in merged)
        ]

    def _table(self, results: list[Measurement]) -> str:
        unit, scale = select_unit(min(result.median for result in results))
        column_names = ordered_unique(result.task_spec.description for result in results)
        keys = ordered_unique((r.num_threads, r.task_spec.env, r.as_row_name) for r in results)
        keys.sort(key=lambda key: (key[0], key[1] or ""))
        cells = {(r.num_threads, r.task_spec.env, r.as_row_name, r.task_spec.description): r for r in results}
        columns = [[cells.get((*key, name)) for key in keys] for name in column_names]

        envs = {key[1] for key in keys}
        width = max(len(env or "") for env in envs) if len(envs) > 1 else 0
        # A row's environment stands where it changes.
        shown = [
            f"({key[1]})" if len(envs) > 1 and key[1] and (i == 0 or keys[i - 1][:2] != key[:2]) else ""
            for i, key in enumerate(keys)
        ]
        names = ["  " + env.ljust(width + 4) + key[2] for env, key in zip(shown, keys, strict=True)]
        names_width = max(map(len, names))

        best = self._best(keys, columns)
        texts = [self._column(column, best[i], scale) for i, column in enumerate(columns)]
        widths = [
            max(len(str(name or "")), plain) for name, (_, plain) in zip(column_names, texts, strict=True)
        ]

        lines = [
            _GAP.join(
                [
                    " " * names_width,
                    *(str(n or "").center(w) for n, w in zip(column_names, widths, strict=True)),
                ]
            )
        ]
        total = len(lines[0])
        for i, key in enumerate(keys):
            if i == 0 or keys[i - 1][0] != key[0]:
                lines.append(f"{key[0]} threads: ".ljust(total, "-"))
            row = [names[i].ljust(names_width)]
            for (column, plain), w in zip(texts, widths, strict=True):
                # What str.center does, for texts with colours, which have no width.
                row.append(("." * plain).center(w).replace("." * plain, column[i]) if plain else " " * w)
            lines.append(_GAP.join(row))
        label = results[0].label or ""
        lines.insert(0, "[" + f" {label} ".center(total - 2, "-") + "]")
        lines += ["", f"Times are in {unit_to_english(unit)}s ({unit})."]
        if self._warn and any(result.has_warnings for result in results):
            lines.append("(! XX%) Measurement has high variance, where XX is the IQR / median * 100.")
        return "\n".join(lines) + "\n"

    def _best(self, keys, columns) -> list[list[float | None]]:
        """For each column and row, the time that it is compared with."""
        best: list[list[float | None]] = [[None] * len(keys) for _ in columns]
        if self._color is Colorize.NONE:
            return best
        for c, column in enumerate(columns):
            for r, key in enumerate(keys):
                if self._color is Colorize.ROWWISE:
                    rivals = [other[r] for other in columns]
                else:
                    rivals = [other for other, k in zip(column, keys, strict=True) if k[0] == key[0]]
                best[c][r] = min((m.median for m in rivals if m is not None), default=None)
        return best

    def _column(self, column, best, scale: float) -> tuple[list[str], int]:
        """The texts of a column, all of one width, and that width (colours have none)."""
        values = [None if m is None else m.median / scale for m in column]
        decimals = 1
        if self._trim:
            figures = [None if m is None else m.significant_figures for m in column]
            pairs = [(v, f) for v, f in zip(values, figures, strict=True) if v is not None]
            decimals = min(_decimals(v, f) for v, f in pairs)
            values = [None if v is None else trim_sigfig(v, f) for v, f in zip(values, figures, strict=True)]
        numbers = ["" if v is None else f"{v:.{decimals}f}" for v in values]
        marks = [
            f" (! {m._noise:.0f}%)" if self._warn and m is not None and m.has_warnings else "" for m in column
        ]
        number_width, mark_width = max(map(len, numbers)), max(map(len, marks))
        texts = []
        for m, number, mark, rival in zip(column, numbers, marks, best, strict=True):
            text = number.rjust(number_width)
            if rival is not None and m is not None:
                text = _colored(text, m.median, rival)
            texts.append(text + mark.ljust(mark_width))
        return texts, number_width + mark_width
