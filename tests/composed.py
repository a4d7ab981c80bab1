"""conf/ composed with overrides, as `compose` does, in a small part of its time: Hydra composes the options once for all tests."""

import copy
from pathlib import Path

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from seg.configure.compose import _composed, compose, plain
from seg.core.environment import conf_folder
from seg.settings.section import Params

CONF = conf_folder(Path(__file__).parents[1])
GROUPS = {folder.name for folder in CONF.iterdir() if folder.is_dir()}


def composed(*overrides: str) -> Params:
    options = [text for text in overrides if text.partition("=")[0] in GROUPS]
    values = [text for text in overrides if text not in options]
    config = copy.deepcopy(_composed(CONF, options))
    try:
        ConfigLoaderImpl._apply_overrides_to_config(OverridesParser.create().parse_overrides(values), config)
    except HydraException:
        compose(CONF, list(overrides))  # says what is wrong
        raise
    return plain(config)
