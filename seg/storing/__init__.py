"""Writing the prepared data set, and the statistics in it."""
