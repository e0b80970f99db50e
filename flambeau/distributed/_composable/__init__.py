"""`flambeau.distributed.fsdp` by an older name."""
