"""`python -m flambeau`: a program runs as under python, with torch meaning flambeau."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

import flambeau
from flambeau.torch_version import TorchVersion

COMMAND = [sys.executable, "-m", os.environ.get("FLAMBEAU_RUN_AS", "flambeau")]


def _interruptible():
    # Who was started in the background of a shell, and its children, would not be.
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def run(*args, text=None, command=COMMAND, **kwargs):
    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    path = os.pathsep.join(part for part in (folder, os.environ.get("PYTHONPATH")) if part)
    env = {**os.environ, "PYTHONPATH": path}
    return subprocess.run(
        [*command, *args],
        capture_output=True,
        text=True,
        input=text,
        env=env,
        timeout=120,
        preexec_fn=_interruptible,
        **kwargs,
    )


def script(folder, source, name="prog.py"):
    path = folder / name
    path.write_text(textwrap.dedent(source))
    return str(path)


def test_torch_means_flambeau(tmp_path):
    done = run(
        script(
            tmp_path,
            """
            import sys, torch, torch.nn as nn, torch.utils.data
            from torch.utils.data import DataLoader
            import flambeau, flambeau.nn
            assert torch is flambeau and nn is flambeau.nn is torch.nn and torch.utils.data.DataLoader is DataLoader
            assert torch.utils.data.__name__ == "flambeau.utils.data"
            assert torch.utils.data.__spec__.name == "flambeau.utils.data"
            assert torch.__name__ == "torch" and torch.quantization and torch.hub
            import functorch
            assert functorch.__version__ == torch.__version__ and functorch.make_functional
            print(sys.argv[1:], __name__, __file__ == sys.argv[0], sys.path[0])
            """,
        ),
        "-x",
        "two words",
    )
    assert done.stderr == ""
    assert done.stdout == f"['-x', 'two words'] __main__ True {tmp_path}\n"


@pytest.mark.parametrize(
    "source, status, said",
    [
        ("import sys; sys.exit(3)", 3, ""),
        ("import sys; sys.exit('no')", 1, "no\n"),
        ("raise SystemExit", 0, ""),
        ("1/0", 1, "ZeroDivisionError"),
        ("import os; os._exit(7)", 7, ""),
        ("x = (", 1, "SyntaxError"),
        (
            "import os, signal; os.kill(os.getpid(), signal.SIGINT); import time; time.sleep(5)",
            -2,
            "KeyboardInterrupt",
        ),
        ("import sys; sys.excepthook = lambda *a: print('mine', file=sys.stderr)\n1/0", 1, "mine\n"),
    ],
)
def test_exit_status_and_errors_are_pythons(tmp_path, source, status, said):
    path = script(tmp_path, source)
    ours, pythons = run(path), run(path, command=[sys.executable])
    assert ours.returncode == pythons.returncode == status
    assert said in ours.stderr
    assert ours.stderr == pythons.stderr


def test_traceback_in_functions(tmp_path):
    path = script(tmp_path, "def f(x):\n    return g(x)\ndef g(x):\n    raise ValueError('é')\nf(1)\n")
    assert run(path).stderr == run(path, command=[sys.executable]).stderr


def test_ways_to_name_a_program(tmp_path):
    source = "import sys, torch; print(torch.nn.__name__, sys.argv, __name__)"
    assert run("-c", source, "a").stdout == "flambeau.nn ['-c', 'a'] __main__\n"
    assert run("-", "a", text=source).stdout == "flambeau.nn ['-', 'a'] __main__\n"
    package = tmp_path / "package"
    package.mkdir()
    script(package, source, "__main__.py")
    script(package, "", "__init__.py")
    assert (
        run("-m", "package", "a", cwd=tmp_path).stdout
        == f"flambeau.nn ['{package}/__main__.py', 'a'] __main__\n"
    )
    assert run(str(package), "a").stdout == f"flambeau.nn ['{package}', 'a'] __main__\n"
    assert run("-m", "no_such_module").returncode == 1
    missing = run("no_such_file.py", cwd=tmp_path)
    assert missing.returncode == 2 and "can't open file" in missing.stderr
    assert run().returncode == 2 and "usage:" in run("--help").stdout
    assert run("--nonsense").returncode == 2


def test_main_can_be_pickled(tmp_path):
    source = """
        import pickle
        class Thing: pass
        assert type(pickle.loads(pickle.dumps(Thing()))) is Thing
        import atexit
        atexit.register(lambda: print(Thing.__module__))
    """
    assert run(script(tmp_path, source)).stdout == "__main__\n"


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_children_have_torch_too(tmp_path, method):
    source = f"""
        import multiprocessing as mp
        import torch
        def work(x):
            import torch
            return torch.nn.__name__, x + 1
        if __name__ == "__main__":
            with mp.get_context("{method}").Pool(1) as pool:
                print(pool.map(work, [1]))
    """
    done = run(script(tmp_path, source))
    assert done.stdout == "[('flambeau.nn', 2)]\n", done.stderr


def test_missing_submodules():
    done = run(
        "-c",
        "import importlib.util\n"
        "assert importlib.util.find_spec('torch.no_such_thing') is None\n"
        "assert importlib.util.find_spec('torch') is not None\n"
        "try:\n    import torch.no_such_thing\n"
        "except ModuleNotFoundError as e: print(e.name, e)\n",
    )
    assert done.stdout.startswith("torch.no_such_thing No module named 'torch.no_such_thing'"), done.stderr
    assert "flambeau" in done.stdout


def test_version_and_metadata():
    done = run(
        "-c",
        "import torch, importlib.metadata as m\n"
        "assert torch.__version__ >= '2.13' and torch.__version__ >= (2, 1) and torch.__version__ < '3'\n"
        "assert m.version('torch') == torch.__version__ and m.metadata('torch')['Name'] == 'torch'\n"
        "print(torch.__version__.split('+')[0], torch.version.cuda)",
    )
    assert done.stdout == "2.13.0 None\n", done.stderr


def test_install_and_uninstall():
    done = run(
        "-c",
        "import sys, flambeau\n"
        "flambeau.install_as_torch()\n"
        "import torch.utils.data\n"
        "assert torch is flambeau and torch.utils.data is flambeau.utils.data\n"
        "flambeau.uninstall_as_torch()\n"
        "assert not [name for name in sys.modules if name.partition('.')[0] == 'torch']\n"
        "sys.modules['torch'] = sys\n"
        "try:\n    flambeau.install_as_torch()\n"
        "except RuntimeError as e: print(e)\n",
        command=[sys.executable],
    )
    assert "imported already" in done.stdout, done.stderr


@pytest.mark.parametrize(
    "smaller, larger",
    [
        ("1.9", "1.10"),
        ("2.0.0a1", "2.0.0b1"),
        ("2.0.0rc1", "2.0.0"),
        ("2.0.0.dev1", "2.0.0a1"),
        ("2.0", "2.0.post1"),
        ("2.0.0", "2.0.0+cpu"),
        ("2.0.0+cpu", "2.0.1"),
    ],
)
def test_versions_compare(smaller, larger):
    assert TorchVersion(smaller) < larger and TorchVersion(larger) > smaller
    assert TorchVersion(larger) >= smaller and TorchVersion(smaller) <= larger
    assert TorchVersion(smaller) != larger and TorchVersion(smaller) == smaller


def test_versions_compare_with_other_things():
    version = TorchVersion("2.13.0+flambeau")
    assert version >= (2, 13) and version < (2, 14) and version == "2.13.0+flambeau"
    assert TorchVersion("2.0") == "2.0.0"
    assert version != "parrot" and isinstance(version, str) and hash(version) == hash(str(version))
    assert flambeau.__version__ >= "2.13"
