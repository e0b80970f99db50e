"""The parts of a loader: collating samples, fetching batches, worker processes."""
