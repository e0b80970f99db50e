"""`flambeau.amp` by its older names."""

from __future__ import annotations

from flambeau.amp._older_names import classes

__all__ = ["GradScaler", "autocast"]

autocast, GradScaler = classes("cuda")
