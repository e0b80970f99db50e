"""Starts a program in several processes: ``python -m flambeau.distributed.run --nproc-per-node 2 script.py``.

Each process finds in its environment what ``init_process_group()`` needs, and more: ``RANK``, ``WORLD_SIZE``,
``LOCAL_RANK``, ``LOCAL_WORLD_SIZE``, ``GROUP_RANK``, ``MASTER_ADDR``, ``MASTER_PORT``, ``TORCHELASTIC_RESTART_COUNT`` and
others. If one fails, all are ended, and started again as often as ``--max-restarts`` says.
"""

from __future__ import annotations

import argparse
import os
import sys
import uuid

from .agent import Agent, Plan
from .elastic.multiprocessing.errors import ChildFailedError

__all__ = ["get_args_parser", "main", "parse_args", "run"]


class _Parser(argparse.ArgumentParser):
    """Takes options with hyphens and with underscores, and their defaults from PET_... in the environment."""

    def option(self, name: str, *short: str, **kwargs) -> None:
        default = os.environ.get("PET_" + name.replace("-", "_").upper())
        if default is not None:
            kwargs["default"] = default if kwargs.get("action") is None else default.lower() in ("1", "true")
        names = [f"--{name}"] if "-" not in name else [f"--{name}", f"--{name.replace('-', '_')}"]
        self.add_argument(*short, *names, **kwargs)


def get_args_parser() -> argparse.ArgumentParser:
    """The options of the command line."""
    parser = _Parser(prog="python -m flambeau.distributed.run", description=__doc__.splitlines()[0])
    option = parser.option
    option("nnodes", default="1", help="number of hosts")
    option("nproc-per-node", default="1", help="processes on this host: a number, 'auto' or 'cpu'")
    option("rdzv-backend", default="static", help="'static' (with --node-rank) or 'c10d'")
    option("rdzv-endpoint", default="", help="HOST:PORT where the hosts meet")
    option("rdzv-id", default="none", help="a name for the run")
    option("rdzv-conf", default="", help="key=value,...: timeout in seconds")
    option("standalone", action="store_true", help="on this host alone, at a port of its own")
    option("max-restarts", type=int, default=0, help="how often to start again after a failure")
    option("monitor-interval", type=float, default=0.1, help="seconds between looks at the processes")
    option("start-method", default="spawn", choices=["spawn", "fork", "forkserver"], help="has no effect")
    option("role", default="default", help="a name for the processes")
    option("module", "-m", action="store_true", help="the program is a module, as of python -m")
    option("no-python", action="store_true", help="the program is a command, not a Python script")
    option(
        "run-path", action="store_true", help="run the script in this interpreter's way; the same as without"
    )
    option("log-dir", default=None, help="folder for what processes print")
    option(
        "redirects",
        "-r",
        default="0",
        help="what goes there instead: 1 output, 2 errors, 3 both; or RANK:N,...",
    )
    option("tee", "-t", default="0", help="what goes there as well as here, by the same numbers")
    option("local-ranks-filter", default="", help="has no effect")
    option("node-rank", default="0", help="number of this host")
    option("master-addr", default="127.0.0.1", help="address of host 0")
    option("master-port", type=int, default=29500, help="port at host 0")
    option("local-addr", default=None, help="has no effect")
    parser.add_argument("training_script", help="the program")
    parser.add_argument("training_script_args", nargs=argparse.REMAINDER, help="its arguments")
    return parser


def parse_args(args=None):
    """The options of a command line."""
    return get_args_parser().parse_args(args)


def _count_nodes(text: str) -> int:
    low, _, high = str(text).partition(":")
    if high and high != low:
        raise ValueError(
            f"--nnodes={text}: the number of hosts has to be fixed here, a run does not grow or shrink: give one number"
        )
    return int(low)


def _count_workers(text: str) -> int:
    if str(text).isdigit() and int(text) > 0:
        return int(text)
    if text in ("auto", "cpu"):
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if text in ("gpu", "xpu"):
        raise ValueError(f"--nproc-per-node={text}: there are no such devices here; use a number, or 'cpu'")
    raise ValueError(f"Unsupported nproc_per_node value: {text}")


def _streams(text: str, workers: int) -> dict[int, int]:
    """ "3", or "0:1,2:3", as numbers by local rank."""
    if ":" not in text:
        return dict.fromkeys(range(workers), int(text))
    return {int(rank): int(what) for rank, what in (pair.split(":") for pair in text.split(","))}


def _command(args) -> list[str]:
    if args.no_python:
        if args.module:
            raise ValueError(
                "Don't use both the '--no-python' flag and the '--module' flag at the same time."
            )
        return [args.training_script, *args.training_script_args]
    # Through our runner, so that `import torch` in the program is flambeau.
    python = [os.environ.get("PYTHON_EXEC", sys.executable), "-u", "-m", "flambeau"]
    return [*python, *(["-m"] if args.module else []), args.training_script, *args.training_script_args]


def plan_of(args, adds_local_rank: bool = False) -> Plan:
    """What a command line asks for."""
    workers, nodes = _count_workers(args.nproc_per_node), _count_nodes(args.nnodes)
    if workers > 1 and "OMP_NUM_THREADS" not in os.environ:
        sys.stderr.write(
            "Setting OMP_NUM_THREADS environment variable for each process to be 1 in default, to avoid your system being "
            "overloaded; set it yourself for more threads.\n"
        )
    if args.standalone:
        host, port, node, serves, run_id = "127.0.0.1", 0, 0, True, str(uuid.uuid4())
        nodes = 1
    elif args.rdzv_backend == "static":
        host, port, node = args.master_addr, args.master_port, int(args.node_rank)
        if args.rdzv_endpoint:
            host, port = _endpoint(args.rdzv_endpoint, port)
        serves, run_id = node == 0, args.rdzv_id
    elif args.rdzv_backend == "c10d":
        host, port = _endpoint(args.rdzv_endpoint or "127.0.0.1:0", 29400)
        node, serves, run_id = None, None, args.rdzv_id
        if nodes > 1 and port == 0:
            raise ValueError("--rdzv-endpoint needs a port where several hosts can meet")
    else:
        raise ValueError(f"--rdzv-backend={args.rdzv_backend}: only 'static' and 'c10d' are here")
    settings = dict(pair.split("=", 1) for pair in args.rdzv_conf.split(",") if pair)
    return Plan(
        command=_command(args),
        name=args.training_script,
        workers=workers,
        nodes=nodes,
        node_rank=node,
        host=host,
        port=port,
        serves=serves,
        run_id=run_id,
        role=args.role,
        max_restarts=int(args.max_restarts),
        interval=max(float(args.monitor_interval), 0.01),
        timeout=float(settings.get("timeout", settings.get("join_timeout", 900))),
        log_folder=args.log_dir,
        redirects=_streams(args.redirects, workers) if args.log_dir else {},
        tee=_streams(args.tee, workers),
        adds_local_rank=adds_local_rank,
    )


def _endpoint(text: str, default_port: int) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    return (host, int(port)) if colon else (text, default_port)


def run(args) -> None:
    """Run what a command line asks for."""
    Agent(plan_of(args)).run()


def main(args=None) -> None:
    """Run what the command line, by default this process's own, asks for.

    Raises:
        ChildFailedError: a process failed.
    """
    run(parse_args(args))


def _end_with_message(function) -> None:
    try:
        function()
    except ChildFailedError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(1) from None
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(2) from None


if __name__ == "__main__":
    _end_with_message(main)
