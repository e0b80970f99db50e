"""`flambeau.library` by an older name."""

from flambeau.library import impl_abstract

__all__ = ["impl_abstract"]
