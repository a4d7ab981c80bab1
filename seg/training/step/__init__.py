"""One optimizer step: micro-batches, memory, precision, averages."""
