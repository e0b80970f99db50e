"""How processes that know a URL find each other: ``env://``, ``tcp://host:port`` and ``file:///path``."""

from __future__ import annotations

import os
import warnings
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from .constants import default_pg_timeout, seconds_of
from .file_store import FileStore
from .tcp_store import TCPStore

__all__ = ["register_rendezvous_handler", "rendezvous"]

_handlers: dict = {}


def register_rendezvous_handler(scheme: str, handler) -> None:
    """Let URLs of `scheme` be handled by ``handler(url, timeout=...)``, a generator of (store, rank, world_size)."""
    if scheme in _handlers:
        raise RuntimeError(f"Rendezvous handler for {scheme}:// already registered")
    _handlers[scheme] = handler


def rendezvous(url: str, rank: int = -1, world_size: int = -1, **kwargs):
    """An iterator over (store, rank, world_size), of which the first is the present rendezvous.

    Args:
        url: ``env://``, ``tcp://host:port`` or ``file:///path``; query parameters may give ``rank`` and ``world_size``.
        rank, world_size: take precedence over those of the URL.
    """
    if not isinstance(url, (str, bytes)):
        raise RuntimeError(f"`url` must be a string. {type(url)}: {url}")
    for name, number in (("rank", rank), ("world_size", world_size)):
        if not isinstance(number, int):
            raise RuntimeError(f"`{name}` must be an integer. {number}")
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    for name, number in (("rank", rank), ("world_size", world_size)):
        if number != -1:
            query[name] = str(number)
    if parts.scheme not in _handlers:
        raise RuntimeError(f"No rendezvous handler for {parts.scheme}://")
    encoded = "&".join(f"{name}={value}" for name, value in query.items())
    # urlunsplit would drop the slashes of an empty place.
    url = (
        urlunsplit(parts._replace(query=encoded))
        if parts.netloc
        else f"{parts.scheme}://{parts.path}?{encoded}"
    )
    return _handlers[parts.scheme](url, **kwargs)


def _error(kind: str, message: str) -> ValueError:
    return ValueError(f"Error initializing torch.distributed using {kind}:// rendezvous: {message}")


def _number(kind: str, query: dict, name: str, what: str) -> int:
    if name not in query:
        raise _error(kind, f"{what} parameter missing")
    return int(query[name])


def _store(host: str, port: int, rank: int, world_size: int, timeout, served_elsewhere: bool):
    return TCPStore(
        host,
        port,
        world_size,
        rank == 0 and not served_elsewhere,
        timeout=timeout,
        wait_for_workers=False,
        multi_tenant=True,
    )


def _tcp(url: str, timeout=default_pg_timeout, **kwargs):
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    if parts.port is None:
        raise _error("tcp", "port number missing")
    rank = _number("tcp", query, "rank", "rank")
    world_size = _number("tcp", query, "world_size", "world size")
    yield _store(parts.hostname, parts.port, rank, world_size, timeout, _agent_serves()), rank, world_size
    raise RuntimeError("Unable to perform re-rendezvous using tcp:// method")


def _agent_serves() -> bool:
    # The launcher says so: its own process serves the store, and goes on serving it when workers start again.
    return os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"


def _env(url: str, timeout=default_pg_timeout, **kwargs):
    query = dict(parse_qsl(urlsplit(url).query))

    def of_environment(name: str) -> str:
        value = os.environ.get(name)
        if not value:
            raise _error("env", f"environment variable {name} expected, but not set")
        return value

    rank = int(query["rank"] if "rank" in query else of_environment("RANK"))
    world_size = int(query["world_size"] if "world_size" in query else of_environment("WORLD_SIZE"))
    host, port = of_environment("MASTER_ADDR"), int(of_environment("MASTER_PORT"))
    store = _store(host, port, rank, world_size, timeout, _agent_serves())
    if _agent_serves():
        from .store import PrefixStore

        # Workers that start again must not find what their predecessors left.
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        store = PrefixStore(f"/worker/attempt_{attempt}", store)
    yield store, rank, world_size
    raise RuntimeError("Unable to perform re-rendezvous using env:// method")


def _file(url: str, timeout=default_pg_timeout, **kwargs):
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))
    if not parts.path:
        raise _error("file", "path missing")
    if parts.netloc:
        warnings.warn(
            f"file://{parts.netloc}{parts.path}: only the path is used, not {parts.netloc!r}", stacklevel=2
        )
    rank = _number("file", query, "rank", "rank")
    world_size = _number("file", query, "world_size", "world size")
    store = FileStore(parts.path, world_size)
    store.set_timeout(timeout)
    seconds_of(timeout)
    yield store, rank, world_size
    raise RuntimeError("Unable to perform rerendezvous using file:// method")


register_rendezvous_handler("tcp", _tcp)
register_rendezvous_handler("env", _env)
register_rendezvous_handler("file", _file)
