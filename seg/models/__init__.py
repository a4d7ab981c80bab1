"""Networks behind one seam, `base.SegmentationModel`."""
