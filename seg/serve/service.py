"""What a request asks for, and its answer: reading, predicting and writing by the code of `seg predict`."""

import asyncio
import base64
import binascii
import json
from pathlib import Path
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request

from seg.core.errors import DataError, InputError, LargeImageError
from seg.core.outputs import is_memory_error
from seg.data.imagefile import IMAGE_SUFFIXES
from seg.models.hardware import device_of
from seg.predict.api import Predictor
from seg.predict.settings import Predict
from seg.predict.write.writers import KINDS
from seg.serve.answers import Answer, answer, named, outputs_of, pixels_of, safe_name
from seg.serve.fetch import Fetcher
from seg.serve.metrics import BATCH, WAITING
from seg.serve.pool import Pool
from seg.serve.settings import Serve
from seg.sources.listing import files_below

SAMPLES = 12  # images of the folder that the page offers
SHOWN = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")  # what browsers show
GIVE = "give one of: a file `file` or a text `url` or `image` (base64), as a multipart form; or the texts in a JSON object"


class Service:
    """A predictor behind a queue. prepared: the images of the page where the settings name no folder."""

    def __init__(self, predictor: Predictor, settings: Serve, prepared: Path) -> None:
        self.predictor, self.settings = predictor, settings
        self.facts = predictor.network.facts
        on_cpu = device_of(predictor.settings.accelerator or "auto").type == "cpu"
        size = settings.batch if settings.batch != "auto" else 1 if on_cpu else predictor.settings.batch_size
        self.pool = Pool(predictor, size, BATCH.observe)
        self.fetcher = Fetcher(settings.hosts, settings.max_bytes, settings.timeout)
        self.waiting = 0
        folder = Path(settings.samples) if settings.samples else prepared / "test/images"
        self.samples = [folder / name for name in files_below(folder, SHOWN)][:SAMPLES] if folder.is_dir() else []

    def model(self) -> dict[str, Any]:
        """What the page knows of the model."""
        classes = [{"name": c.name, "color": f"#{bytes(c.color).hex()}"} for c in self.facts.classes]
        threshold = self.facts.threshold(self.predictor.settings.score_threshold)
        shown = {"task": self.facts.task, "classes": classes, "score_threshold": threshold, "outputs": outputs_of(self.facts)}
        return shown | {"samples": [path.name for path in self.samples], "suffixes": list(IMAGE_SUFFIXES)}

    async def answer(self, request: Request, output: str, asked: dict[str, Any]) -> Answer:
        """Of a request to predict. asked: keys of `predict` that it sets. HTTPException for what it cannot have."""
        if output not in (known := outputs_of(self.facts)):
            raise HTTPException(422, f"as={output[:50]}: expected one of {', '.join(known)}")
        settings, output = _asked(self.predictor.settings, asked), named(output, self.facts)
        data, name = await self._given(request)
        if self.waiting >= self.settings.waiting:
            raise HTTPException(503, f"{self.waiting} images wait already; come again", {"Retry-After": "1"})
        self.waiting += 1
        WAITING.inc()
        try:
            pixels = await asyncio.to_thread(pixels_of, data, name, self.facts)
            found = await self.pool.predict(pixels, output in KINDS and KINDS[output].probabilities)
            return await asyncio.to_thread(answer, output, name, pixels, found, settings, self.facts)
        except LargeImageError as error:
            raise HTTPException(413, str(error)) from None
        except DataError as error:
            raise HTTPException(422, str(error)) from None
        except Exception as error:
            if isinstance(error, InputError) or is_memory_error(error):
                raise HTTPException(507, f"{name}: the memory or the disk does not suffice for this image; send a smaller one") from error
            raise
        finally:
            self.waiting -= 1
            WAITING.dec()

    async def _given(self, request: Request) -> tuple[bytes, str]:
        """The bytes and the name of the image that a request holds or names."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "application/json":
            try:
                fields = json.loads(await request.body())
            except (ValueError, RecursionError):
                raise HTTPException(400, "the body is not JSON") from None
        elif kind in ("multipart/form-data", "application/x-www-form-urlencoded"):
            try:
                fields = dict(await request.form(max_files=1, max_fields=3, max_part_size=self.settings.max_bytes))
            except (ValueError, KeyError):
                raise HTTPException(400, "the body is not a form") from None
        else:
            raise HTTPException(415, f"Content-Type: expected multipart/form-data or application/json; {GIVE}")
        there = [key for key in ("file", "url", "image") if isinstance(fields, dict) and fields.get(key)]
        if len(there) != 1:
            raise HTTPException(422, GIVE)
        value = fields[there[0]]
        if there == ["file"] and not isinstance(value, str) and hasattr(value, "read"):
            return await value.read(), safe_name(value.filename or "")
        if there == ["file"] or not isinstance(value, str):
            raise HTTPException(422, GIVE)
        if there == ["url"]:
            data, name = await self.fetcher.fetch(value)
            return data, safe_name(name)
        try:
            return base64.b64decode(value.partition("base64,")[2] or value, validate=True), "image"
        except (binascii.Error, ValueError):
            raise HTTPException(422, "image: is not base64") from None


def _asked(settings: Predict, asked: dict[str, Any]) -> Predict:
    polygons = {key: asked.pop(key) for key in ("tolerance", "min_area") if asked.get(key) is not None}
    given = {key: value for key, value in asked.items() if value is not None and key in ("score_threshold",)}
    return settings.model_copy(update=given | {"polygons": settings.polygons.model_copy(update=polygons)})
