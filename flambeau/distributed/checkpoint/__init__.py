"""Checkpoints that processes write together: their names. Save what one process has with `flambeau.save`."""
