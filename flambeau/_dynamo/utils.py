"""Questions about a compiler that is not there."""


def is_compile_supported(device_type) -> bool:
    """Whether programs can be compiled for a kind of device: no."""
    return False
