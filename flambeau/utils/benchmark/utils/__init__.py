"""The parts of `flambeau.utils.benchmark`: measurements, the timer, tables."""
