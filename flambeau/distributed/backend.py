"""Names of backends. There is one: what PyTorch calls gloo, for tensors on the CPU, written here on sockets."""

from __future__ import annotations

__all__ = [
    "Backend",
    "BackendConfig",
    "check_backend",
    "get_default_backend_for_device",
    "is_backend_available",
    "is_gloo_available",
    "is_mpi_available",
    "is_nccl_available",
    "is_ucc_available",
    "is_xccl_available",
]


class Backend(str):
    """The name of a backend, in small letters.

    >>> flambeau.distributed.Backend("GLOO")
    'gloo'
    """

    UNDEFINED = "undefined"
    GLOO = "gloo"
    NCCL = "nccl"
    UCC = "ucc"
    MPI = "mpi"
    XCCL = "xccl"
    FAKE = "fake"

    backend_list = [UNDEFINED, GLOO, NCCL, XCCL, UCC, MPI, FAKE]
    default_device_backend_map = {"cpu": GLOO, "cuda": NCCL, "xpu": XCCL, "mps": GLOO}
    backend_capability = {
        GLOO: ["cpu", "cuda"],
        NCCL: ["cuda"],
        XCCL: ["xpu"],
        UCC: ["cpu", "cuda"],
        MPI: ["cpu", "cuda"],
    }

    def __new__(cls, name: str):
        if not isinstance(name, str):
            raise ValueError(f"Backend constructor parameter must be string-ish: {name}")
        return super().__new__(cls, name.lower())

    @classmethod
    def register_backend(cls, name, func, extended_api=False, devices=None):
        """Refuses: process groups here have one engine."""
        raise RuntimeError(
            f"register_backend({name!r}): process groups of flambeau have one engine, 'gloo', and no place for others"
        )


class BackendConfig:
    """Which backend serves which device, made of a name such as ``"gloo"`` or ``"cpu:gloo,cuda:nccl"``."""

    def __init__(self, backend: str):
        self.device_backend_map: dict[str, str] = {}
        if backend == Backend.UNDEFINED:
            self.device_backend_map["cpu"] = Backend.GLOO
        elif ":" in backend:
            for pair in backend.lower().split(","):
                device, colon, name = pair.partition(":")
                if not colon or not device or not name:
                    raise ValueError(
                        f"The custom backend string argument is invalid: {backend}. It is written as "
                        '"<device_type1>:<backend1>,<device_type2>:<backend2>...", for example "cpu:gloo,cuda:nccl"'
                    )
                if device in self.device_backend_map:
                    raise ValueError(f"Duplicate device type {device} in backend string: {backend}.")
                self.device_backend_map[device] = Backend(name)
        else:
            for device in ("cpu", "cuda"):
                self.device_backend_map[device] = Backend(backend)

    def __repr__(self) -> str:
        return ",".join(f"{device}:{backend}" for device, backend in self.device_backend_map.items())

    def get_device_backend_map(self) -> dict[str, str]:
        """Backends by device type."""
        return self.device_backend_map


def check_backend(name: str) -> None:
    """Refuse a backend that does not serve tensors on the CPU here."""
    serving = BackendConfig(name).device_backend_map.get("cpu")
    if serving == Backend.GLOO:
        return
    if serving is None:
        raise RuntimeError(f"No backend type associated with device type cpu in {name!r}: use 'gloo'")
    if serving == Backend.MPI:
        raise RuntimeError(
            "Distributed package doesn't have MPI built in. Use the 'gloo' backend, for tensors on the CPU"
        )
    if serving in Backend.backend_list:
        raise RuntimeError(
            f"Distributed package doesn't have {serving.upper()} built in. Use the 'gloo' backend, for tensors on the CPU"
        )
    raise AssertionError(f"Unknown backend type {serving}")


def is_gloo_available() -> bool:
    """True."""
    return True


def is_mpi_available() -> bool:
    """False: there is no MPI here."""
    return False


def is_nccl_available() -> bool:
    """False: there are no GPUs here."""
    return False


def is_ucc_available() -> bool:
    """False."""
    return False


def is_xccl_available() -> bool:
    """False."""
    return False


def is_backend_available(backend: str) -> bool:
    """Whether process groups can have this backend: "gloo" only."""
    return backend.lower() == Backend.GLOO


def get_default_backend_for_device(device) -> str:
    """The backend that serves tensors of a device."""
    kind = device.type if hasattr(device, "type") else str(device).partition(":")[0]
    found = Backend.default_device_backend_map.get(kind)
    if found is None:
        raise ValueError(f"Default backend not registered for device : {device}")
    return found
