"""The parts of `flambeau.serialization`: the zip container, the names inside pickles, the restricted unpickler."""
