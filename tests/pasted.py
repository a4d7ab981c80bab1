"""An epoch of images with pasted instances, as bytes that can be compared."""

from seg.training.loading.datamodule import SegmentationData


def pasted_epoch(data: SegmentationData, epoch: int) -> list[tuple[str, bytes, bytes, list[int]]]:
    """(image id, image, ids, categories) of everything that an epoch yields, in order."""
    loader = data.train_dataloader()
    loader.batch_sampler.set_epoch(epoch)
    loader.timeout = 60 if loader.num_workers else 0
    return [
        (name, image.numpy().tobytes(), ids.numpy().tobytes(), categories.tolist())
        for b in loader
        for name, image, ids, categories in zip(b.image_ids, b.images, b.instances, b.categories, strict=True)
    ]
