"""The section `augment`."""

from typing import Annotated

from pydantic import Field

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


class Crop(Section):
    size: Annotated[list[Positive], Field(min_length=2, max_length=2)]
    foreground: Share


class Augment(Named):
    copies: Count
    crop: Crop | None
    preview: Preview
    instances: Instances
    copy_paste: CopyPaste
    transforms: list[Target]
