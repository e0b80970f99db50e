"""What a profile consists of: spans of time, their sums by name, and the table, the trace and the stacks drawn of them."""

from __future__ import annotations

import json
import math
import os
import socket
import threading
from collections.abc import Iterable

_OPERATOR, _NODE, _PROGRAM = range(3)
_CATEGORY = {_OPERATOR: "cpu_op", _NODE: "cpu_op", _PROGRAM: "user_annotation"}


_UNITS = {"s": 1e6, "ms": 1e3, "us": 1.0}


def _time(us: float, unit: str | None = None) -> str:
    """In a unit of `_UNITS`, or in the one that suits."""
    if unit not in _UNITS:
        unit = next((name for name, size in _UNITS.items() if abs(us) >= size), "us")
    return f"{us / _UNITS[unit]:.3f}{unit}"


def _memory(nbytes: int) -> str:
    for unit, size in (("GB", 2**30), ("MB", 2**20), ("KB", 2**10)):
        if abs(nbytes) >= size:
            return f"{nbytes / size:.2f} {unit}"
    return f"{nbytes} B"


class Interval:
    """From `start` to `end`, in microseconds since the profile began."""

    def __init__(self, start: float, end: float):
        self.start, self.end = start, end

    def elapsed_us(self) -> float:
        """Its length in microseconds."""
        return self.end - self.start

    def __repr__(self):
        return f"Interval(start={self.start}, end={self.end})"


class _Times:
    """Times in words, and averages over `count`."""

    @property
    def cpu_time(self) -> float:
        """Microseconds per call, with what was called inside."""
        return self.cpu_time_total / self.count if self.count else 0.0

    @property
    def cpu_time_str(self) -> str:
        """`cpu_time` in words."""
        return _time(self.cpu_time)

    @property
    def cpu_time_total_str(self) -> str:
        """`cpu_time_total` in words."""
        return _time(self.cpu_time_total)

    @property
    def self_cpu_time_total_str(self) -> str:
        """`self_cpu_time_total` in words."""
        return _time(self.self_cpu_time_total)

    # Nothing runs on another device.
    device_time = device_time_total = self_device_time_total = cuda_time = cuda_time_total = 0.0
    device_memory_usage = self_device_memory_usage = 0
    is_async = is_remote = is_legacy = False


class FunctionEvent(_Times):
    """One span: an operator, a node of the backward pass, or a part that the program named.

    Attributes:
        name: ``aten::`` and the operator's name; a node's name; what `record_function` was given.
        time_range: when, in microseconds since the profile began.
        cpu_time_total, self_cpu_time_total: microseconds, with and without the spans inside it.
        cpu_memory_usage, self_cpu_memory_usage: bytes that it took and kept (`profile_memory=True`).
        input_shapes: the sizes of its tensors (`record_shapes=True`).
        stack: the program's line (`with_stack=True`).
        cpu_parent, cpu_children: the spans around and inside it.
    """

    count = 1

    def __init__(self, index: int, kind: int, name: str, start: float, end: float, thread: int):
        self.id, self.kind, self.name, self.thread = index, kind, name, thread
        self.time_range = Interval(start, end)
        self.input_shapes: list = []
        self.stack: list[str] = []
        self.cpu_memory_usage = 0
        self.cpu_parent: FunctionEvent | None = None
        self.cpu_children: list[FunctionEvent] = []
        self.is_user_annotation = kind == _PROGRAM

    @property
    def key(self) -> str:
        """What it is summed by: its name."""
        return self.name

    @property
    def cpu_time_total(self) -> float:
        """Microseconds that it took."""
        return self.time_range.elapsed_us()

    @property
    def self_cpu_time_total(self) -> float:
        """Microseconds that it took itself, without the spans inside it."""
        return self.cpu_time_total - sum(child.cpu_time_total for child in self.cpu_children)

    @property
    def self_cpu_memory_usage(self) -> int:
        """Bytes that it took itself, without the spans inside it."""
        return self.cpu_memory_usage - sum(child.cpu_memory_usage for child in self.cpu_children)

    def __repr__(self):
        return (
            f"<FunctionEvent id={self.id} name={self.name} cpu_time={self.cpu_time_str} "
            f"start_us={self.time_range.start:.3f} end_us={self.time_range.end:.3f} "
            f"cpu_children={[child.id for child in self.cpu_children]} thread={self.thread} "
            f"input_shapes={self.input_shapes} cpu_memory_usage={self.cpu_memory_usage}>"
        )


class FunctionEventAvg(_Times):
    """All spans of one name (and shape, or line) together: their number and sums."""

    def __init__(self, key: str | None = None):
        self.key, self.count = key, 0
        self.cpu_time_total = self.self_cpu_time_total = 0.0
        self.cpu_memory_usage = self.self_cpu_memory_usage = 0
        self.input_shapes: list = []
        self.stack: list[str] = []
        self.is_user_annotation = False

    def add(self, other: FunctionEvent | FunctionEventAvg, nested: bool = False) -> FunctionEventAvg:
        """Count another span, or all of another sum; `nested`: inside one of the same name, which has its time already."""
        self.count += other.count
        if not nested:
            self.cpu_time_total += other.cpu_time_total
            self.cpu_memory_usage += other.cpu_memory_usage
        self.self_cpu_time_total += other.self_cpu_time_total
        self.self_cpu_memory_usage += other.self_cpu_memory_usage
        return self

    def __repr__(self):
        return (
            f"<FunctionEventAvg key={self.key} count={self.count} self_cpu_time={self.self_cpu_time_total_str} "
            f"cpu_time={self.cpu_time_str} input_shapes={self.input_shapes} cpu_memory_usage={self.cpu_memory_usage}>"
        )


_SORT_KEYS = (
    "cpu_time",
    "cpu_time_total",
    "self_cpu_time_total",
    "cpu_memory_usage",
    "self_cpu_memory_usage",
    "count",
    "device_time",
    "device_time_total",
    "self_device_time_total",
    "cuda_time",
    "cuda_time_total",
    "device_memory_usage",
    "self_device_memory_usage",
)


class EventList(list):
    """Spans or their sums, with the ways to show them."""

    def __init__(self, items: Iterable = (), *, memory: bool = False, shapes: bool = False, stacks: int = 0):
        super().__init__(items)
        self._memory, self._shapes, self._stacks = memory, shapes, stacks

    @property
    def self_cpu_time_total(self) -> float:
        """Microseconds of all together."""
        return sum(event.self_cpu_time_total for event in self)

    def key_averages(
        self,
        group_by_input_shapes: bool = False,
        group_by_stack_n: int = 0,
        group_by_overload_name: bool = False,
    ) -> EventList:
        """The sums by name, and by the tensors' sizes or the innermost lines of the stack where these are asked for."""
        sums: dict[tuple, FunctionEventAvg] = {}
        for event in self:
            stack = event.stack[:group_by_stack_n] if group_by_stack_n > 0 else []
            shapes = event.input_shapes if group_by_input_shapes else []
            key = (event.key, str(shapes), str(stack))
            if key not in sums:
                sums[key] = FunctionEventAvg(event.key)
                sums[key].input_shapes, sums[key].stack = shapes, stack
                sums[key].is_user_annotation = event.is_user_annotation
            around = getattr(event, "cpu_parent", None)
            while around is not None and around.key != event.key:
                around = around.cpu_parent
            sums[key].add(event, nested=around is not None)
        return EventList(
            sums.values(), memory=self._memory, shapes=group_by_input_shapes, stacks=group_by_stack_n
        )

    def total_average(self) -> FunctionEventAvg:
        """The sum of all."""
        total = FunctionEventAvg("Total")
        for event in self:
            total.add(event)
        return total

    def table(
        self,
        sort_by: str | None = None,
        row_limit: int = 100,
        max_src_column_width: int = 75,
        max_name_column_width: int = 55,
        max_shapes_column_width: int = 80,
        header: str | None = None,
        top_level_events_only: bool = False,
        time_unit: str | None = None,
    ) -> str:
        """The list as a table for people.

        Args:
            sort_by: the attribute whose largest values come first, such as ``"self_cpu_time_total"``; None keeps the order.
            row_limit: how many rows at most; -1 for all.
            max_src_column_width, max_name_column_width, max_shapes_column_width: longer texts are cut.
            header: a line above.
            top_level_events_only: leave out what ran inside something else.
            time_unit: "s", "ms" or "us" for all times; None takes what suits each.
        """
        if sort_by is not None and sort_by not in _SORT_KEYS:
            raise AttributeError(
                f"sort_by={sort_by!r} is no figure of a profile; these are: {', '.join(_SORT_KEYS)}"
            )
        events = [
            e for e in self if not (top_level_events_only and getattr(e, "cpu_parent", None) is not None)
        ]
        if sort_by is not None:
            events.sort(key=lambda event: getattr(event, sort_by), reverse=True)
        total = sum(e.self_cpu_time_total for e in self)

        def share(us: float) -> str:
            return f"{100 * us / total:.2f}%" if total else "NaN"

        def cut(text: str, width: int | None) -> str:
            return text if not width or len(text) <= width else text[: width - 3] + "..."

        columns = {
            "Name": lambda e: cut(e.key, max_name_column_width),
            "Self CPU %": lambda e: share(e.self_cpu_time_total),
            "Self CPU": lambda e: _time(e.self_cpu_time_total, time_unit),
            "CPU total %": lambda e: share(e.cpu_time_total),
            "CPU total": lambda e: _time(e.cpu_time_total, time_unit),
            "CPU time avg": lambda e: _time(e.cpu_time, time_unit),
        }
        if self._memory:
            columns["CPU Mem"] = lambda e: _memory(e.cpu_memory_usage)
            columns["Self CPU Mem"] = lambda e: _memory(e.self_cpu_memory_usage)
        columns["# of Calls"] = lambda e: str(e.count)
        if self._shapes:
            columns["Input Shapes"] = lambda e: cut(str(e.input_shapes), max_shapes_column_width)
        if self._stacks:
            columns["Source Location"] = lambda e: cut(e.stack[0] if e.stack else "", max_src_column_width)

        chosen = events if row_limit < 0 else events[:row_limit]
        rows = [list(columns)] + [[text(e) for text in columns.values()] for e in chosen]
        widths = [max(12, *(len(row[i]) for row in rows)) for i in range(len(columns))]
        rule = "  ".join("-" * width for width in widths)
        lines = [
            "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows
        ]
        above = [] if header is None else ["=" * len(rule), header]
        return "\n".join(
            [
                *above,
                rule,
                lines[0],
                rule,
                *lines[1:],
                rule,
                f"Self CPU time total: {_time(total, time_unit)}",
                "",
            ]
        )

    def __str__(self):
        return self.table()

    def export_chrome_trace(self, path: str, metadata: dict | None = None, use_python_export=False) -> None:
        """Write the spans as a trace that ``chrome://tracing``, Perfetto and TensorBoard show, with `metadata` beside them.

        use_python_export: accepted; there is one way to write them.
        """
        process = os.getpid()
        trace = []
        for event in self:
            details = {"External id": event.id, "Input Dims": event.input_shapes}
            if event.stack:
                details["Call stack"] = ";".join(event.stack)
            trace.append(
                {
                    "ph": "X",
                    "cat": _CATEGORY[event.kind],
                    "name": event.name,
                    "pid": process,
                    "tid": event.thread,
                    "ts": event.time_range.start,
                    "dur": event.cpu_time_total,
                    "args": details,
                }
            )
        whole = {
            "schemaVersion": 1,
            **(metadata or {}),
            "host_name": socket.gethostname(),
            "displayTimeUnit": "ms",
            "record_shapes": int(self._shapes),
            "profile_memory": int(self._memory),
            "with_stack": int(bool(self._stacks)),
            "traceEvents": trace,
            "traceName": path,
        }
        with open(path, "w") as file:
            json.dump(whole, file)

    def supported_export_stacks_metrics(self) -> list[str]:
        """The figures that `export_stacks` takes."""
        return ["self_cpu_time_total"]

    def export_stacks(self, path: str, metric: str = "self_cpu_time_total") -> None:
        """Write one line per span with a stack, ``frame;frame count``, as flame graphs are made of."""
        with open(path, "w") as file:
            for event in self:
                value = math.floor(getattr(event, metric))
                if event.stack and value > 0:
                    frames = ";".join(
                        frame.replace(" ", "_").replace(";", ",") for frame in reversed(event.stack)
                    )
                    file.write(f"{frames};{event.name.replace(' ', '_')} {value}\n")


def from_spans(spans: list[tuple], *, memory: bool, shapes: bool, stacks: bool) -> EventList:
    """The native record as events."""
    origin = min((span[2] for span in spans), default=0)
    thread = threading.get_native_id()
    events: list[FunctionEvent] = []
    for index, (kind, name, begin, end, parent, nbytes, sizes, site) in enumerate(spans):
        if kind == _OPERATOR:
            name = f"aten::{name.partition('.')[0]}"
        event = FunctionEvent(index, kind, name, (begin - origin) / 1e3, (end - origin) / 1e3, thread)
        event.cpu_memory_usage = nbytes
        event.input_shapes = [list(size) for size in sizes or ()]
        event.stack = [site] if site else []
        if parent >= 0:
            event.cpu_parent = events[parent]
            events[parent].cpu_children.append(event)
        events.append(event)
    return EventList(events, memory=memory, shapes=shapes, stacks=int(stacks))
