"""The pipeline's stages: each loads, calls and writes."""
