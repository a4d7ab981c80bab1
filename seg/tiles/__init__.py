"""Images of any size, seen in overlapping tiles."""
