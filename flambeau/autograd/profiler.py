"""The profiler's older home and older form: see `flambeau.profiler`."""

from flambeau import profiler as _profiler
from flambeau.profiler import record_function
from flambeau.profiler.events import EventList, FunctionEvent, FunctionEventAvg

__all__ = ["EventList", "FunctionEvent", "FunctionEventAvg", "emit_nvtx", "profile", "record_function"]


class profile(_profiler.profile):
    """Context manager that writes down what runs inside it, if `enabled`; its figures are methods of the profile itself.

    Args:
        enabled: without it, nothing happens.
        record_shapes, profile_memory, with_stack: see `flambeau.profiler.profile`.
        custom_trace_id_callback: see `flambeau.profiler.profile`.
        use_cuda, use_device, with_flops, with_modules, use_kineto, use_cpu, experimental_config, acc_events,
            post_processing_timeout_s, activity_filters: accepted, without an effect.

    >>> with flambeau.autograd.profiler.profile() as prof:
    ...     y = flambeau.ones(3).exp()
    >>> len(prof.function_events)
    2
    """

    def __init__(
        self,
        enabled: bool = True,
        *,
        use_cuda: bool = False,
        use_device: str | None = None,
        record_shapes: bool = False,
        with_flops: bool = False,
        profile_memory: bool = False,
        with_stack: bool = False,
        with_modules: bool = False,
        use_kineto: bool = False,
        use_cpu: bool = True,
        experimental_config=None,
        acc_events: bool = False,
        custom_trace_id_callback=None,
        post_processing_timeout_s: float | None = None,
        activity_filters=None,
    ):
        super().__init__(
            record_shapes=record_shapes,
            profile_memory=profile_memory,
            with_stack=with_stack,
            custom_trace_id_callback=custom_trace_id_callback,
        )
        self.enabled = enabled

    def start(self) -> None:
        """Begin, if it is enabled."""
        if self.enabled:
            super().start()

    def stop(self) -> None:
        """End, if it is enabled."""
        if self.enabled:
            super().stop()

    @property
    def function_events(self) -> EventList:
        """All spans."""
        return self.events()

    @property
    def self_cpu_time_total(self) -> float:
        """Microseconds of all spans together."""
        return self.events().self_cpu_time_total

    def table(self, *args, **kwargs) -> str:
        """The spans as a table: see `EventList.table`."""
        return self.events().table(*args, **kwargs)

    def total_average(self) -> FunctionEventAvg:
        """The sum of all spans."""
        return self.events().total_average()

    def __str__(self):
        return "<unfinished torch.autograd.profile>" if self._events is None else str(self._events)


class emit_nvtx:
    """Context manager that would tell NVIDIA's profiler what runs, where there is such a device.

    Raises:
        AssertionError: on entering, if `enabled`: there is none.
    """

    def __init__(self, enabled: bool = True, record_shapes: bool = False):
        self.enabled, self.record_shapes = enabled, record_shapes

    def __enter__(self):
        if self.enabled:
            raise AssertionError("Torch not compiled with CUDA enabled: flambeau runs on the CPU")
        return None

    def __exit__(self, *exc) -> bool:
        return False
