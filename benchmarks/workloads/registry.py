"""What a workload is, and the table of all."""

from collections.abc import Callable
from dataclasses import dataclass

MILLION = 1_000_000


@dataclass(frozen=True)
class Workload:
    name: str
    prepare: Callable
    target: float | None
    flops: float | None  # floating point operations of one run, where the FMA peak is the limit
    bytes: float | None  # bytes that one run has to move, where the memory is


WORKLOADS: dict[str, Workload] = {}


def workload(name: str, target: float | None = None, flops: float | None = None, bytes: float | None = None):
    def register(prepare: Callable) -> Callable:
        assert name not in WORKLOADS, name
        WORKLOADS[name] = Workload(name, prepare, target, flops, bytes)
        return prepare

    return register
