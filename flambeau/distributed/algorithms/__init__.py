"""Parts of distributed training that programs choose by name."""
