"""What model.weights means: a file, a folder of weights, a hub's name, or a path that leads nowhere."""

import hashlib
from pathlib import Path

import pytest

from seg.core.errors import ConfigError
from seg.settings.inputs import digest_of, local_weights


def test_weights_are_a_file_a_folder_or_a_hubs_name(tmp_path: Path) -> None:
    (tmp_path / "mine/whole").mkdir(parents=True)
    (tmp_path / "mine/whole/config.json").write_text("{}")
    (tmp_path / "mine/x.pth").write_bytes(b"x")
    assert local_weights(tmp_path, "mine/x.pth") == tmp_path / "mine/x.pth"
    assert local_weights(tmp_path, "mine/whole") == tmp_path / "mine/whole"
    for name in ("imagenet", "facebook/mask2former-swin-tiny", None):
        assert local_weights(tmp_path, name) is None
    for name in ("mine/wholo", "facebook/x.pt", "a/b/c", "./x", "../x", "x.ckpt"):
        with pytest.raises(ConfigError, match="there is no such file; give a file of weights, a hub's name, or null"):
            local_weights(tmp_path, name)


def test_a_folder_has_the_digest_of_its_files_and_a_file_its_own(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    assert digest_of(tmp_path / "a") == hashlib.sha256(b"1").hexdigest()
    before = digest_of(tmp_path)
    (tmp_path / "a").write_bytes(b"2")
    assert digest_of(tmp_path) != before
    (tmp_path / "a").write_bytes(b"1")
    assert digest_of(tmp_path) == before
    (tmp_path / "a").rename(tmp_path / "b")
    assert digest_of(tmp_path) != before
