"""Parts of tracing that programs ask questions of."""
