"""What watches a training: divergence, trackers, trials of a sweep."""
