"""What there is to choose from: models, losses and encoders, with their sizes."""
