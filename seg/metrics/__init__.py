"""Streaming counts, and pure functions over them."""
