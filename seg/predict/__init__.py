"""From images to predictions, without the data set that a model was trained on."""
