"""What only an evaluation needs, beyond the figures that a training watches: intervals, groups, and what went wrong where."""
