"""Objects that are followed through a video."""
