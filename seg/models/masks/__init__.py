"""Mask classification: a network gives a set of masks, each with the probability of every class and of no object."""
