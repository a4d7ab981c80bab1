"""From the prepared data set to batches, as training and evaluation share it."""
