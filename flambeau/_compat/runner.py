"""``python -m flambeau``: run a program as python would, with torch meaning flambeau.

The program gets the real ``__main__`` module, ``sys.argv`` and ``sys.path`` as python sets them, its tracebacks start in
its own code, and its exit status is its own.
"""

from __future__ import annotations

import builtins
import io
import os
import sys

from .as_torch import install_as_torch

USAGE = """\
usage: python -m flambeau SCRIPT [ARGS...]
       python -m flambeau -m MODULE [ARGS...]
       python -m flambeau -c CODE [ARGS...]

Runs a program written for PyTorch on flambeau: in it, `import torch` gives flambeau.
SCRIPT is a file, a folder or zip archive with a __main__.py, or - for standard input.
"""


def _clean_main(**attributes) -> dict:
    """Empty the module ``__main__``, which until now held our own start, for the program."""
    namespace = sys.modules["__main__"].__dict__
    namespace.clear()
    namespace.update(
        __name__="__main__",
        __doc__=None,
        __package__=None,
        __loader__=None,
        __spec__=None,
        __builtins__=builtins,
    )
    namespace.update(attributes)
    return namespace


def _set_first_path(folder: str) -> None:
    """Put the folder where python puts a script's own, in place of the one that -m put there."""
    if getattr(sys.flags, "safe_path", False):
        return
    if sys.path:
        sys.path[0] = folder
    else:
        sys.path.append(folder)


def _execute(source, filename: str, namespace: dict) -> None:
    exec(compile(source, filename, "exec", dont_inherit=True), namespace)


def _run_script(script: str) -> None:
    if script == "-":
        _set_first_path("")
        _execute(sys.stdin.buffer.read(), "<stdin>", _clean_main())
        return
    if os.path.isdir(script) or _is_zip(script):
        _set_first_path(script)
        _run_module("__main__", is_folder=True)
        return
    try:
        with io.open_code(os.path.abspath(script)) as file:
            source = file.read()
    except OSError as error:
        reason = f"[Errno {error.errno}] {error.strerror}"
        sys.stderr.write(f"{sys.executable}: can't open file {os.path.abspath(script)!r}: {reason}\n")
        raise SystemExit(2) from None
    _set_first_path(os.path.dirname(os.path.realpath(script)))
    from importlib.machinery import SourceFileLoader

    namespace = _clean_main(
        __file__=os.path.abspath(script), __cached__=None, __loader__=SourceFileLoader("__main__", script)
    )
    _execute(source, os.path.abspath(script), namespace)


def _is_zip(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            if file.read(2) != b"PK":
                return False
    except OSError:
        return False
    import zipfile

    return zipfile.is_zipfile(path)


def _run_module(name: str, is_folder: bool = False) -> None:
    import runpy

    _clean_main()
    # What `python -m` itself calls, and `python FOLDER` with the name __main__.
    runpy._run_module_as_main(name, alter_argv=not is_folder)  # type: ignore[attr-defined]


def _is_own_frame(traceback) -> bool:
    filename = traceback.tb_frame.f_code.co_filename
    return filename == __file__ or "runpy" in os.path.basename(filename)


def _run(start, *args) -> None:
    try:
        start(*args)
    except SystemExit:
        raise
    except BaseException as error:
        traceback = error.__traceback__
        while traceback is not None and _is_own_frame(traceback):
            traceback = traceback.tb_next
        # Report it here, where our own frames can be left out; python then only sets the exit status.
        sys.excepthook(type(error), error.with_traceback(traceback), traceback)
        sys.excepthook = lambda *unused: None
        raise


def main(argv: list[str] | None = None) -> None:
    """Run the program that the command line names. Returns when the program ends normally."""
    args = sys.argv[1:] if argv is None else argv
    if not args or args[0] in ("-h", "--help"):
        (sys.stdout if args else sys.stderr).write(USAGE)
        raise SystemExit(0 if args else 2)
    if args[0] in ("-V", "--version"):
        from flambeau import version

        print(f"flambeau {version.flambeau} (PyTorch's API of {version.api})")
        return
    install_as_torch()
    option = args[0]
    if option in ("-m", "-c"):
        if len(args) < 2:
            sys.stderr.write(f"Argument expected for the {option} option\n{USAGE}")
            raise SystemExit(2)
        sys.argv[:] = [option, *args[2:]]
        _set_first_path("" if option == "-c" else os.getcwd())
        if option == "-m":
            _run(_run_module, args[1])
        else:
            _run(lambda: _execute(args[1], "<string>", _clean_main()))
    elif option.startswith("-") and option != "-":
        sys.stderr.write(f"Unknown option: {option}\n{USAGE}")
        raise SystemExit(2)
    else:
        sys.argv[:] = args
        _run(_run_script, option)
