"""A server of this machine that speaks S3."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import pytest
from tiny import tree

from seg.core.urls import place_of

KEYS = {"AWS_ACCESS_KEY_ID": "tester", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


def served() -> Iterator[str]:
    """The address of the server, which has the bucket `shared`; a fixture."""
    pytest.importorskip("moto", reason="of the extra dev")
    import boto3
    from moto.server import ThreadedMotoServer

    started = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    started.start()
    try:
        address = "http://{}:{}".format(*started.get_host_and_port())
        names = dict(zip(("aws_access_key_id", "aws_secret_access_key", "region_name"), KEYS.values(), strict=True))
        boto3.client("s3", endpoint_url=address, **names).create_bucket(Bucket="shared")
        yield address
    finally:
        started.stop()


def environment() -> Iterator[str]:
    """The URL of the bucket, which the environment leads to; a fixture."""
    upath = pytest.importorskip("upath", reason="universal-pathlib is not installed: pip install '.[url]'")
    with contextmanager(served)() as address, patch.dict(os.environ, KEYS | {"AWS_ENDPOINT_URL": address}):
        yield "s3://shared"
        upath.UPath("s3://shared").fs.clear_instance_cache()


def put(folder: Path, url: str) -> None:
    """Copy a folder to the bucket."""
    place = place_of(url)
    for name, data in tree(folder).items():
        (place / name).write_bytes(data)
