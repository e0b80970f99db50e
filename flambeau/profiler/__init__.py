"""A profiler of operators: what ran, when, for how long, on which shapes, and with how much memory.

    with torch.profiler.profile(record_shapes=True) as prof:
        model(inputs).sum().backward()
    print(prof.key_averages().table(sort_by="self_cpu_time_total", row_limit=10))
    prof.export_chrome_trace("trace.json")

It sees operators, the nodes of a backward pass, and what `record_function` names, on the thread that it was started on.
"""

from __future__ import annotations

import enum
import functools
import json
import os
import socket
import time
import uuid

from flambeau import _C

from .events import EventList, from_spans

__all__ = [
    "DeviceType",
    "ProfilerAction",
    "ProfilerActivity",
    "kineto_available",
    "profile",
    "record_function",
    "schedule",
    "supported_activities",
    "tensorboard_trace_handler",
]


class DeviceType(enum.IntEnum):
    """Kinds of devices; here work runs on the CPU alone."""

    CPU = 0
    CUDA = 1
    MKLDNN = 2
    OPENGL = 3
    OPENCL = 4
    IDEEP = 5
    HIP = 6
    FPGA = 7
    MAIA = 8
    XLA = 9
    Vulkan = 10
    Metal = 11
    XPU = 12
    MPS = 13
    Meta = 14
    HPU = 15
    VE = 16
    Lazy = 17
    IPU = 18
    MTIA = 19
    PrivateUse1 = 20

    def __repr__(self):
        return f"<DeviceType.{self.name}: {self.value}>"

    __str__ = enum.Enum.__str__


class ProfilerActivity(enum.Enum):
    """What a profiler looks at."""

    CPU = 0
    CUDA = 1
    XPU = 2
    MTIA = 3
    HPU = 4
    PrivateUse1 = 5


class ProfilerAction(enum.Enum):
    """What a profiler does during a step."""

    NONE = 0
    WARMUP = 1
    RECORD = 2
    RECORD_AND_SAVE = 3


def kineto_available() -> bool:
    """Whether PyTorch's profiling library is there: no."""
    return False


def supported_activities() -> set:
    """What can be profiled: the CPU's work."""
    return {ProfilerActivity.CPU}


class record_function:
    """Context manager and decorator that names a part of a program for the profiler.

    >>> with flambeau.profiler.record_function("forward"):
    ...     y = flambeau.ones(1) + 1
    """

    def __init__(self, name: str, args: str | None = None):
        self.name, self.args = name, args
        self._spans: list[int] = []

    def __enter__(self):
        self._spans.append(_C._begin_recorded(self.name))
        return self

    def __exit__(self, *exc):
        _C._end_recorded(self._spans.pop())

    def __call__(self, function):
        @functools.wraps(function)
        def named(*args, **kwargs):
            with self:
                return function(*args, **kwargs)

        return named


def schedule(
    *, wait: int, warmup: int, active: int, repeat: int = 0, skip_first: int = 0, skip_first_wait: int = 0
):
    """A function that says what a profiler does at a step: `skip_first` steps nothing, then rounds of `wait`, `warmup`
    and `active` steps, `repeat` of them (0: without end); with `skip_first_wait`, the first round does not wait.

    >>> plan = flambeau.profiler.schedule(wait=1, warmup=1, active=1)
    >>> [plan(step).name for step in range(4)]
    ['NONE', 'WARMUP', 'RECORD_AND_SAVE', 'NONE']
    """
    if min(wait, warmup, repeat, skip_first) < 0 or active <= 0:
        raise AssertionError(
            "Invalid profiler schedule arguments: active must be positive, the others not negative"
        )

    def action(step: int) -> ProfilerAction:
        if step < 0:
            raise AssertionError(f"Step must be non-negative, got {step}")
        step -= skip_first
        if step < 0:
            return ProfilerAction.NONE
        if skip_first_wait:
            step += wait
        length = wait + warmup + active
        if repeat and step // length >= repeat:
            return ProfilerAction.NONE
        place = step % length
        if place < wait:
            return ProfilerAction.NONE
        if place < wait + warmup:
            return ProfilerAction.WARMUP
        return ProfilerAction.RECORD_AND_SAVE if place == length - 1 else ProfilerAction.RECORD

    return action


def _always_recorded(step: int) -> ProfilerAction:
    return ProfilerAction.RECORD


_LISTENING = (ProfilerAction.RECORD, ProfilerAction.RECORD_AND_SAVE)


#: The profile that is listening at present, if one is.
_listening: profile | None = None


class profile:
    """Context manager that writes down what runs inside it.

    Args:
        activities: what to look at; CPU work is all there is.
        schedule: a function from the number of the step to a `ProfilerAction`; see `schedule`. None: all is recorded.
        on_trace_ready: called with the profile whenever a round of the schedule is over, or at the end.
        record_shapes: keep the sizes of the operators' tensors.
        profile_memory: keep by how much each operator made the memory in use grow.
        with_stack: keep the program's line.
        custom_trace_id_callback: gives the text that `get_trace_id` returns; by default each recording has one of its own.
        with_flops, with_modules, experimental_config, execution_trace_observer, acc_events, use_cuda,
            post_processing_timeout_s: accepted, without an effect.

    Raises:
        RuntimeError: another profile is running on this thread.

    >>> with flambeau.profiler.profile() as prof:
    ...     y = flambeau.ones(3).exp()
    >>> [event.name for event in prof.events()]
    ['aten::ones', 'aten::exp']
    """

    def __init__(
        self,
        *,
        activities=None,
        schedule=None,
        on_trace_ready=None,
        record_shapes: bool = False,
        profile_memory: bool = False,
        with_stack: bool = False,
        with_flops: bool = False,
        with_modules: bool = False,
        experimental_config=None,
        execution_trace_observer=None,
        acc_events: bool = False,
        use_cuda: bool | None = None,
        custom_trace_id_callback=None,
        post_processing_timeout_s: float | None = None,
    ):
        self.activities = set(activities) if activities else supported_activities()
        self.schedule, self.on_trace_ready = schedule or _always_recorded, on_trace_ready
        self.record_shapes, self.profile_memory, self.with_stack = record_shapes, profile_memory, with_stack
        self._by_steps = schedule is not None
        self.step_num = 0
        self.current_action = ProfilerAction.NONE
        self._events: EventList | None = None
        self._running = False
        self._step_span = -1
        self._trace_id: str | None = None
        self._custom_trace_id = custom_trace_id_callback
        self._preset: dict = {}
        self._metadata: dict = {}

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc):
        self.stop()

    def start(self) -> None:
        """Begin."""
        self.current_action = self.schedule(self.step_num)
        if self.current_action in _LISTENING:
            self._listen()
        self._begin_step()

    def stop(self) -> None:
        """End; what was recorded is there from now on."""
        self._end_step()
        ready = self._running
        self._hear_out()
        if ready and self.on_trace_ready is not None:
            self.on_trace_ready(self)

    def step(self) -> None:
        """Say that a step of the program is over: the schedule decides what happens in the next one."""
        self._end_step()
        before = self.current_action
        self.step_num += 1
        self.current_action = self.schedule(self.step_num)
        if before is ProfilerAction.RECORD_AND_SAVE:
            self._hear_out()
            if self.on_trace_ready is not None:
                self.on_trace_ready(self)
        elif before in _LISTENING and self.current_action not in _LISTENING:
            self._hear_out()
        if self.current_action in _LISTENING and not self._running:
            self._listen()
        self._begin_step()

    def prepare_trace(self) -> None:
        """Nothing has to be prepared here; `start_trace` begins at once."""

    def start_trace(self) -> None:
        """Record from here on, whatever the schedule says."""
        if not self._running:
            self._listen()

    def stop_trace(self) -> None:
        """End what `start_trace` began."""
        self._hear_out()

    def get_trace_id(self) -> str | None:
        """What tells this recording from others, also in the trace that is written; None before the first."""
        return self._trace_id

    def set_custom_trace_id_callback(self, callback) -> None:
        """Take the names of recordings that follow from a function without parameters."""
        self._custom_trace_id = callback

    def add_metadata(self, key: str, value: str) -> None:
        """Have a text stand in the trace of what is being recorded."""
        self.add_metadata_json(key, json.dumps(value))

    def add_metadata_json(self, key: str, value: str) -> None:
        """Have a value, given as JSON, stand in the trace of what is being recorded; nothing happens outside of that."""
        if self._running:
            self._metadata[key] = json.loads(value)

    def preset_metadata_json(self, key: str, value: str) -> None:
        """As `add_metadata_json`, for all recordings, and before they begin."""
        self._preset[key] = json.loads(value)

    def _listen(self) -> None:
        global _listening
        _C._start_recording(self.record_shapes, self.profile_memory, self.with_stack)
        self._running, _listening = True, self
        self._trace_id = self._custom_trace_id() if self._custom_trace_id else uuid.uuid4().hex.upper()
        self._metadata = dict(self._preset)

    def _hear_out(self) -> None:
        global _listening
        if self._running:
            self._running, _listening = False, None
            self._events = from_spans(
                _C._stop_recording(),
                memory=self.profile_memory,
                shapes=self.record_shapes,
                stacks=self.with_stack,
            )

    def _begin_step(self) -> None:
        if self._by_steps and self._running:
            self._step_span = _C._begin_recorded(f"ProfilerStep#{self.step_num}")

    def _end_step(self) -> None:
        _C._end_recorded(self._step_span)
        self._step_span = -1

    def events(self) -> EventList:
        """All spans, in the order of their beginnings."""
        if self._events is None:
            raise AssertionError(
                "the profile has recorded nothing yet: it has to be over, or a round of its schedule"
            )
        return self._events

    def key_averages(
        self,
        group_by_input_shape: bool = False,
        group_by_stack_n: int = 0,
        group_by_overload_name: bool = False,
    ) -> EventList:
        """The spans summed by name, and by the tensors' sizes or by the program's line where these are asked for."""
        return self.events().key_averages(group_by_input_shape, group_by_stack_n)

    def export_chrome_trace(self, path: str, use_python_export: bool = False) -> None:
        """Write a trace that ``chrome://tracing``, Perfetto and TensorBoard show, with what `add_metadata` said.

        use_python_export: accepted; there is one way to write it.
        """
        self.events().export_chrome_trace(path, {"trace_id": self._trace_id, **self._metadata})

    def export_stacks(self, path: str, metric: str = "self_cpu_time_total") -> None:
        """Write the lines that flame graphs are made of; needs `with_stack`."""
        self.events().export_stacks(path, metric)


def tensorboard_trace_handler(
    dir_name: str, worker_name: str | None = None, use_gzip: bool = False, use_python_export: bool = False
):
    """A function for `on_trace_ready` that writes each trace to a new file in a directory, as TensorBoard reads it.

    Args:
        dir_name: the directory, which is made if it isn't there.
        worker_name: what the file's name begins with; by default the host and the process.
        use_gzip: compress the file.
        use_python_export: accepted; there is one way to write it.
    """

    def handler(prof: profile) -> None:
        os.makedirs(dir_name, exist_ok=True)
        worker = worker_name or f"{socket.gethostname()}_{os.getpid()}"
        path = os.path.join(dir_name, f"{worker}.{time.time_ns()}.pt.trace.json")
        prof.export_chrome_trace(path)
        if use_gzip:
            import gzip
            import shutil

            with open(path, "rb") as plain, gzip.open(f"{path}.gz", "wb") as packed:
                shutil.copyfileobj(plain, packed)
            os.remove(path)

    return handler
