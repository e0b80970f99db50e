"""The launcher: environments, failures, attempts, signals; and unmodified programs in several processes."""

import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import textwrap
import time

import pytest

from flambeau.distributed import run as launcher

ROOT = pathlib.Path(__file__).parent.parent.parent
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

TRAINING = """
    import os, sys, torch, torch.distributed as dist
    dist.init_process_group()
    rank, size = dist.get_rank(), dist.get_world_size()
    assert int(os.environ["LOCAL_RANK"]) == dist.get_node_local_rank()
    x = torch.tensor([rank + 1.0])
    dist.all_reduce(x)
    sys.stdout.write(f"rank {rank} of {size}: {x.item()} {'flambeau' in torch.__version__} {sys.argv[1:]}\\n")
    dist.destroy_process_group()
"""


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


@pytest.fixture
def program(tmp_path):
    def write(code):
        path = tmp_path / "program.py"
        path.write_text(textwrap.dedent(code))
        return str(path)

    return write


def launch(*args, module="flambeau.distributed.run", timeout=90):
    module = module.split()
    done = subprocess.run(
        [sys.executable, "-m", *module, *args],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=ENVIRONMENT,
    )
    return done.returncode, done.stdout, done.stderr


def test_standalone(program):
    code, out, err = launch("--standalone", "--nproc_per_node=3", program(TRAINING), "--lr", "0.1")
    assert code == 0, err
    assert sorted(out.splitlines()) == [f"rank {i} of 3: 6.0 True ['--lr', '0.1']" for i in range(3)]


def test_older_launcher_passes_the_local_rank(program):
    code, out, err = launch(
        "--nproc-per-node",
        "2",
        "--master-port",
        str(free_port()),
        program(TRAINING),
        module="flambeau.distributed.launch",
    )
    assert code == 0, err
    assert sorted(out.splitlines()) == [f"rank {i} of 2: 3.0 True ['--local-rank={i}']" for i in range(2)]


@pytest.mark.parametrize("backend", ["static", "c10d"])
def test_two_hosts(program, backend):
    port, path = free_port(), program(TRAINING)
    common = ["--nnodes=2", "--nproc-per-node=1"]
    agents = []
    for node in range(2):
        where = (
            [f"--node-rank={node}", "--master-addr=127.0.0.1", f"--master-port={port}"]
            if backend == "static"
            else ["--rdzv-backend=c10d", f"--rdzv-endpoint=127.0.0.1:{port}", "--rdzv-id=name"]
        )
        command = [sys.executable, "-m", "flambeau.distributed.run", *common, *where, path]
        agents.append(
            subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT
            )
        )
    found = []
    for agent in agents:
        out, err = agent.communicate(timeout=90)
        assert agent.returncode == 0, err
        found += out.splitlines()
    assert sorted(found) == [f"rank {i} of 2: 3.0 True []" for i in range(2)]


def test_environment(program):
    names = "RANK WORLD_SIZE LOCAL_RANK LOCAL_WORLD_SIZE GROUP_RANK ROLE_RANK ROLE_NAME TORCHELASTIC_MAX_RESTARTS".split()
    code, out, err = launch(
        "--standalone", "--nproc-per-node=2", "--role=worker", "--max-restarts=3",
        program(f"import os, sys; sys.stdout.write(' '.join(os.environ[n] for n in {names}) + '\\n')"),
        module="flambeau -m torch.distributed.run",  # by PyTorch's name
    )  # fmt: skip
    assert code == 0, err
    assert sorted(out.splitlines()) == ["0 2 0 2 0 0 worker 3", "1 2 1 2 0 1 worker 3"]


def test_a_failure_ends_all_and_is_reported(program):
    start = time.monotonic()
    code, _, err = launch(
        "--standalone", "--nproc-per-node=2",
        program("""
            import os, time
            from torch.distributed.elastic.multiprocessing.errors import record

            @record
            def main():
                if os.environ["RANK"] == "1":
                    raise ValueError("no luck")
                time.sleep(60)

            main()
        """),
    )  # fmt: skip
    assert code == 1 and time.monotonic() - start < 50
    assert (
        "program.py FAILED" in err and "rank      : 1 (local_rank: 1)" in err and "ValueError: no luck" in err
    )


def test_failed_runs_start_again(program):
    code, out, err = launch(
        "--standalone", "--nproc-per-node=2", "--max-restarts=2",
        program("""
            import os, sys, torch, torch.distributed as dist
            dist.init_process_group("gloo")
            dist.barrier()
            attempt = int(os.environ["TORCHELASTIC_RESTART_COUNT"])
            if attempt < 2 and dist.get_rank() == attempt:
                os._exit(3)
            x = torch.ones(1)
            dist.all_reduce(x)
            sys.stdout.write(f"{attempt} {x.item()}\\n")
        """),
    )  # fmt: skip
    assert code == 0, err
    assert out.splitlines() == ["2 2.0", "2 2.0"]
    assert "2/2 attempts left" in err and "1/2 attempts left" in err


def test_ends_with_a_signal_and_takes_the_workers_along(program, tmp_path):
    path = program(f"""
        import os, time
        open({str(tmp_path)!r} + "/pid" + os.environ["RANK"], "w").write(str(os.getpid()))
        time.sleep(60)
    """)
    command = [sys.executable, "-m", "flambeau.distributed.run", "--standalone", "--nproc-per-node=2", path]
    agent = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)
    files = [tmp_path / f"pid{i}" for i in range(2)]
    end = time.monotonic() + 30
    while not all(f.exists() and f.read_text() for f in files):
        assert time.monotonic() < end
        time.sleep(0.05)
    agent.send_signal(signal.SIGTERM)
    assert "received signal SIGTERM" in agent.communicate(timeout=30)[1] and agent.returncode == 1
    for file in files:
        with pytest.raises(ProcessLookupError):
            os.kill(int(file.read_text()), 0)


def test_logs(program, tmp_path):
    path = program("import os, sys; print('out', os.environ['RANK']); print('err', file=sys.stderr)")
    code, out, err = launch(
        "--nproc-per-node=2", "--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0", "--rdzv-id=run",
        f"--log-dir={tmp_path}", "-r", "0:1", "--tee", "1:3", path,
    )  # fmt: skip
    assert code == 0, err
    assert out.splitlines() == ["[default1]:out 1"] and "[default1]:err" in err
    logs = tmp_path / "run" / "attempt_0"
    assert (logs / "0" / "stdout.log").read_text() == "out 0\n" and (
        logs / "1" / "stderr.log"
    ).read_text() == "err\n"


def test_commands_and_modules(tmp_path):
    code, out, _ = launch("--standalone", "--nproc-per-node=2", "--no-python", "/bin/echo", "hello")
    assert code == 0 and out.splitlines() == ["hello", "hello"]
    code, out, _ = launch("--standalone", "-m", "json.tool", "--help")
    assert code == 0 and "usage" in out


def test_the_page_about_processes_runs(program):
    page = (ROOT / "docs" / "distributed.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert len(blocks) == 3
    # In one write: `print` makes two, and the lines of two processes could mix.
    shown = "import sys; sys.stdout.write(f'{tuple(y.shape)} {tuple(out.shape)}\\n')"
    code, out, err = launch("--standalone", "--nproc-per-node=2", program("\n".join([*blocks, shown])))
    assert code == 0, err
    assert out.splitlines() == ["(2, 4, 32, 4) (10, 16)"] * 2


@pytest.mark.parametrize(
    "args, text",
    [
        (["--nnodes=1:4"], "has to be fixed here"),
        (["--nproc-per-node=gpu"], "there are no such devices"),
        (["--nproc-per-node=x"], "Unsupported nproc_per_node value: x"),
        (["--rdzv-backend=etcd"], "only 'static' and 'c10d'"),
        (["--no-python", "-m"], "Don't use both"),
    ],
)
def test_what_is_refused(args, text):
    with pytest.raises(ValueError, match=text):
        launcher.plan_of(launcher.parse_args([*args, "script.py"]))


def test_spawned_programs_run_unmodified(program):
    path = program(f"""
        import torch
        import torch.distributed as dist
        import torch.multiprocessing as mp
        from torch.nn.parallel import DistributedDataParallel as DDP

        def work(rank, size):
            dist.init_process_group("gloo", init_method="tcp://127.0.0.1:{free_port()}", rank=rank, world_size=size)
            torch.manual_seed(rank)
            model = DDP(torch.nn.Linear(3, 1))
            model(torch.ones(2, 3) * rank).sum().backward()
            assert model.module.weight.grad.tolist() == [[1.0] * 3]
            dist.destroy_process_group()

        if __name__ == "__main__":
            mp.spawn(work, args=(2,), nprocs=2)
            print("done")
    """)
    done = subprocess.run(
        [sys.executable, "-m", "flambeau", path], capture_output=True, text=True, timeout=90, env=ENVIRONMENT
    )
    assert done.stdout == "done\n", done.stderr
