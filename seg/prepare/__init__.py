"""From raw data to the prepared data set: which image goes where, reading in parallel, checks."""
