"""Before a training starts, the network is tried at the sizes that it is going to see."""

import shutil
from pathlib import Path

import pytest
from conftest import MakeConfig
from tiny import augment

from seg.augment.policy import compile_policy
from seg.core.errors import ConfigError
from seg.models.build import build_model
from seg.training.loading.datamodule import SegmentationData
from seg.training.module import check_network

CROP = {"_target_": "albumentations.RandomCrop", "height": 32, "width": 24, "p": 1.0}


def data_of(prepared: Path, batch_size: int, policy: object = None) -> SegmentationData:
    return SegmentationData(prepared, None, policy, batch_size, batch_size, 0, 0, False)  # type: ignore[arg-type]


@pytest.fixture
def cropping(make_config: MakeConfig):
    config = make_config()
    return compile_policy(config.augment.model_copy(update={"transforms": [type(config.model.network)(**CROP)]}), config.targets.allow)


def test_the_sizes_are_those_that_are_drawn_and_those_that_are_predicted(prepared: Path, cropping: object, tmp_path: Path) -> None:
    assert data_of(prepared, 4).image_sizes() == ([(48, 48)], [(48, 48)])
    mixed = tmp_path / "prepared"
    shutil.copytree(prepared, mixed)
    manifest = mixed / "val/manifest.csv"
    header, first, *others = manifest.read_text().splitlines()
    columns = header.split(",")
    cells = first.split(",")
    cells[columns.index("height")], cells[columns.index("width")] = "30", "90"
    manifest.write_text("\n".join([header, ",".join(cells), *others]) + "\n")
    drawn, predicted = data_of(mixed, 4, cropping).image_sizes()
    assert drawn == [(32, 24)]
    assert sorted(predicted) == [(30, 90), (48, 48)]
    for size in ([20, 40], [60, 70]):
        windows = compile_policy(augment(crop={"size": size, "foreground": 0.5}), ["albumentations"])
        data = data_of(mixed, 4, windows)
        assert data.image_sizes()[0] == [tuple(size)]
        assert {tuple(batch.images.shape[-2:]) for batch in data.train_dataloader()} == {tuple(size)}


def test_a_batch_of_one_image_is_refused_where_it_cannot_be_learned_from(prepared: Path, cropping: object, make_config: MakeConfig) -> None:
    data = data_of(prepared, 4)
    model = build_model(make_config("model=deeplabv3plus", "model.network.encoder_name=tu-test_resnet"), data.info)
    check_network(model, data, 1)
    images = data.num_training_images()
    for single, processes in ((data_of(prepared, 1), 1), (data, images)):  # so many processes have an image each
        with pytest.raises(ConfigError, match=r"^trainer\.batch_size=1: .*images of 48x48.*set trainer\.batch_size=2"):
            check_network(model, single, processes)
    with pytest.raises(ConfigError, match=r"images of 32x24 pixels \(the network sees 32x32\)"):
        check_network(model, data_of(prepared, 1, cropping), 1)


def test_the_trial_leaves_the_weights_and_the_random_numbers_as_they_are(prepared: Path, make_config: MakeConfig) -> None:
    import torch

    data = data_of(prepared, 4)
    model = build_model(make_config("model.network.encoder_name=tu-test_resnet"), data.info)
    before, state = {n: t.clone() for n, t in model.state_dict().items()}, torch.get_rng_state()
    check_network(model, data, 1)
    assert all(torch.equal(t, before[n]) for n, t in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(module.training for module in model.modules())
