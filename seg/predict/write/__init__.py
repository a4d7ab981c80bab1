"""Predictions as files of each kind."""
