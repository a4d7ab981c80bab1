"""The section `augment`."""

from seg.settings.section import Count, Named, Positive, Section, Share, Target


class Preview(Section):
    images: Positive
    draws: Positive


class Instances(Section):
    min_visible: Share
    min_area: Count


class CopyPaste(Section):
    p: Share
    max_instances: Positive | None


class Augment(Named):
    copies: Count
    preview: Preview
    instances: Instances
    copy_paste: CopyPaste
    transforms: list[Target]
