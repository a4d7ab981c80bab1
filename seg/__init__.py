"""From labelled images to a trained, evaluated segmentation model."""
