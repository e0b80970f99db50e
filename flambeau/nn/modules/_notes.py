"""The note that an exception inside a nested module carries: where in the model it was raised, and by what.

Each module on the way up adds its own step, so nothing is kept while all goes well.
"""

_TRAIL = "_flambeau_module_trail"
_LINES = 20  # a whole model printed under an error would hide it


def _path_between(parent, child):
    """The dotted name of `child` below `parent`, or None."""
    return next((name for name, module in parent.named_modules() if module is child), None)


def _printed(module):
    lines = repr(module).split("\n")
    return "\n".join(lines if len(lines) <= _LINES else [*lines[:_LINES], "  ..."])


def add_module_note(module, error):
    """Record on `error` that it passed through `module`."""
    try:
        trail = getattr(error, _TRAIL, None)
        if trail is None:
            # (path of the raising module below the outermost module seen so far, that module, its printed form)
            trail = ("", module, _printed(module), -1)
        else:
            path, inner, printed, position = trail
            step = _path_between(module, inner)
            if not step:
                return
            trail = (f"{step}.{path}" if path else step, module, printed, position)
        path, outer, printed, position = trail
        place = f"'{path}' of {type(outer).__name__}" if path else f"of type {type(outer).__name__}"
        note = f"raised in module {place}: {printed}"
        notes = getattr(error, "__notes__", None)
        if notes is None:
            notes = error.__notes__ = []  # what add_note does, on Python 3.10 too
        if position < 0:
            position = len(notes)
            notes.append(note)
        else:
            notes[position] = note
        setattr(error, _TRAIL, (path, outer, printed, position))
    except Exception:
        return  # a note must never hide the error itself
