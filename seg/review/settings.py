"""The section `review`."""

from seg.settings.section import Count, Positive, Section, Share


class Review(Section):
    """listed: suspects that the page shows, and whose images are written to be corrected. least_score: of those. least_pixels: of a region
    of a class map."""

    listed: Positive
    least_score: Share
    least_pixels: Count
