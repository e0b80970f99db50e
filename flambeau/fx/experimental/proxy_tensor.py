"""Tracing with tensors that record what happens to them: there is none."""


def get_proxy_mode() -> None:
    """The tracing that is going on: none."""
    return None
