"""The batches of a training: augmented, seeded by image, cached."""
