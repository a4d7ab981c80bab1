"""A server of this machine that speaks S3."""

from collections.abc import Iterator

import pytest

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
