"""The service's addresses, as FastAPI (https://fastapi.tiangolo.com) has them; its description of them is shown without its pages,
which load scripts from another host."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import torch
import yaml
from fastapi import FastAPI, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response

from seg.configure.template import own_version
from seg.core.environment import end_with_parent, keep_freed_memory, num_cores
from seg.predict.api import predictor_of
from seg.predict.settings import PredictSettings
from seg.report.rendering import rendered
from seg.serve.guard import Guard
from seg.serve.metrics import shown
from seg.serve.service import Service
from seg.serve.settings import Serve

BODY = yaml.safe_load(Path(__file__).with_name("body.yaml").read_text(encoding="utf-8"))


def service_of(models: Sequence[Path], cfg: PredictSettings, settings: Serve, prepared: Path) -> Service:
    """Load the models. prepared: data whose test images the page offers where the settings name no others."""
    os.environ["SEG_MAX_PIXELS"] = str(settings.max_pixels)
    return Service(predictor_of(models, cfg, cfg.runtime.threads), settings, prepared)


def worker(*given: Any) -> Any:
    """The application of one process among several. given: as `service_of` has it."""
    end_with_parent()
    keep_freed_memory()
    torch.set_num_threads(min(num_cores(), torch.get_num_threads()))
    return application(service_of(*given))


def application(service: Service) -> Any:
    """The service as an ASGI application, behind its guard."""
    app = FastAPI(title="seg serve", version=own_version(), docs_url=None, redoc_url=None)

    @app.exception_handler(RequestValidationError)
    async def invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        first = error.errors()[0]
        return JSONResponse({"detail": f"{first['loc'][-1]}={str(first.get('input'))[:50]}: {first['msg']}"}, 422)

    @app.post("/predict", openapi_extra={"requestBody": BODY}, response_class=Response)
    async def predict(
        request: Request,
        output: Annotated[str, Query(alias="as", description="an output of seg predict, png, rle or polygons")] = "rle",
        score_threshold: Annotated[float | None, Query(ge=0, le=1, description="objects that score less are left out; not of coco")] = None,
        tolerance: Annotated[float | None, Query(ge=0, lt=1e4, description="pixels by which polygons are simplified; 0: exact")] = None,
        min_area: Annotated[int | None, Query(ge=1, description="pixels that an object or a region has at least")] = None,
    ) -> Response:
        """Predict an image: file, url or image."""
        asked = {"score_threshold": score_threshold, "tolerance": tolerance, "min_area": min_area}
        found = await service.answer(request, output, asked)
        named = f"attachment; filename*=UTF-8''{quote(found.name, safe='')}"
        return Response(found.content, media_type=found.media_type, headers={"Content-Disposition": named})

    @app.get("/model")
    async def model() -> dict[str, Any]:
        """The task, the classes with their colours, the kinds of answers, and the samples."""
        return service.model()

    @app.get("/samples/{number}", response_class=Response)
    async def sample(number: int) -> Response:
        """The file of a sample, by its place in the list."""
        if not 0 <= number < len(service.samples):
            return JSONResponse({"detail": f"there are {len(service.samples)} samples, counted from 0"}, 404)
        return Response(service.samples[number].read_bytes(), media_type="application/octet-stream")

    @app.get("/health")
    async def health() -> dict[str, str]:
        """Whether the service answers."""
        return {"status": "ok"}

    @app.get("/metrics", response_class=Response)
    async def metrics() -> Response:
        """Figures for Prometheus."""
        return Response(shown(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/", include_in_schema=False, response_class=HTMLResponse)
    async def page() -> str:
        return rendered("serve/try.html.j2", title="Try the model")

    @app.get("/docs", include_in_schema=False, response_class=HTMLResponse)
    async def docs() -> str:
        return rendered("serve/docs.html.j2", title="seg serve: its addresses", api=app.openapi())

    return Guard(app, service.settings)
