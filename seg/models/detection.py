"""A detector as the model of boxes."""

from seg.models.detector import DetectorModel


class DetectionModel(DetectorModel):
    """The boxes of its network, as instances whose masks are their boxes."""
