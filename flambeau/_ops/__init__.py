"""The operators, by family. Importing this package reads every record: see `registry`."""
