"""`serve`: a model and a port -> a service that predicts images, with a page to try it."""

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from ipaddress import ip_address
from pathlib import Path
from tempfile import TemporaryDirectory

from seg.configure.read import read_group
from seg.core.environment import CORES, keep_freed_memory, num_cores
from seg.core.errors import ConfigError
from seg.predict.api import predictor_of, settings_of
from seg.predict.settings import PredictSettings
from seg.serve.settings import Serve, ServeSettings

PACKAGES = ("fastapi", "uvicorn", "python_multipart", "httpx", "prometheus_client")
OF_ITSELF = ("serve", "paths")  # sections whose overrides are not of predict
CONNECTIONS = 512  # at once, of one process; further ones are told to come again


@dataclass(frozen=True, slots=True)
class Arguments:
    """Of the command line. overrides: keys of conf/serve and conf/predict."""

    models: Sequence[Path]
    overrides: Sequence[str] = ()


def run(project: Path, given: Arguments) -> None:
    """Serve until the process is ended. ConfigError where the address cannot be had, or a package is missing."""
    if missing := next((name for name in PACKAGES if not find_spec(name)), None):
        raise ConfigError(f"serve: needs the package {missing.replace('_', '-')}; pip install -e '.[serve]'")
    own = [text for text in given.overrides if text.partition("=")[0].partition(".")[0] in OF_ITSELF]
    found = ServeSettings.of(read_group(project, "serve", own, "serve"))
    cfg = settings_of([text for text in given.overrides if text not in own], project, "serve")
    settings = found.serve.model_copy(update={"token": found.serve.token or os.environ.get("SEG_SERVE_TOKEN") or None})
    with TemporaryDirectory() as shared:
        if settings.workers > 1:  # before what counts for Prometheus is imported, which asks then whether there are several processes
            os.environ["PROMETHEUS_MULTIPROC_DIR"] = shared
            os.environ[CORES] = str(max(1, num_cores() // settings.workers))
        _serve(given.models, cfg, settings, project / found.paths.prepare)


def _serve(models: Sequence[Path], cfg: PredictSettings, settings: Serve, prepared: Path) -> None:
    import uvicorn
    from uvicorn.supervisors import Multiprocess

    from seg.serve import app
    from seg.serve.guard import Protocol

    several = settings.workers > 1
    if several:  # a mistake is told before anything is listened to
        predictor_of(models, cfg)
    own = (models, cfg, settings, prepared)
    made = partial(app.worker, *own) if several else app.application(app.service_of(*own))
    listening = _bound(settings.host, settings.port)
    keep_freed_memory()
    config = uvicorn.Config(
        made,
        factory=several,
        workers=settings.workers,
        http=Protocol,
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=CONNECTIONS,
        timeout_graceful_shutdown=5,
        timeout_worker_healthcheck=60,
    )
    host, port = listening.getsockname()[:2]
    place = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    print(f"{', '.join(map(str, models))}: a page to try it at {place}, its addresses at {place}/docs; Ctrl+C ends it", flush=True)
    if not settings.token and not ip_address(host).is_loopback:
        print("other machines may predict without a token; set SEG_SERVE_TOKEN, or serve.host=127.0.0.1", flush=True)
    if several:
        Multiprocess(config, [listening]).run()
    else:
        uvicorn.Server(config).run([listening])


def _bound(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        reason = str(error.strerror).partition(" (while")[0]
        fix = "set serve.port to another one, or to 0 for any that is free"
        raise ConfigError(f"serve.host={host} serve.port={port}: cannot be listened at ({reason}); {fix}") from None
