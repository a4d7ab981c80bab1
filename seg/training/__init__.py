"""The training loop around a model: what Lightning is given, what is kept, what is said, and what ends it."""
