"""`flambeau.hub.load_state_dict_from_url` by an older name."""

from flambeau.hub import _bar, load_state_dict_from_url

__all__ = ["load_url"]

load_url = load_state_dict_from_url


def tqdm(iterable=None, *, total=None, disable=False, **options):
    """A bar that shows progress, if tqdm is installed.

    Args:
        iterable: what to go through; None for a bar that is updated by hand.
        total: the number of steps.
        disable: show nothing.
    """
    try:
        from tqdm import tqdm as bar
    except ImportError:
        return _bar(total, wanted=False) if iterable is None else iterable
    return bar(iterable, total=total, disable=disable, **options)
