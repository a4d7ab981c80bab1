"""The data contracts: samples, label maps, image files, and the prepared data set on disk."""
