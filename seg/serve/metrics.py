"""Figures for Prometheus (https://prometheus.io/docs/instrumenting/exposition_formats), of all processes of a service together."""

import os

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

SHARED = "PROMETHEUS_MULTIPROC_DIR"  # the variable that names the folder in which several processes count
ANSWERS = Counter("seg_answers", "answers by their HTTP status", ["status"])
SECONDS = Histogram("seg_request_seconds", "seconds from a request's header to its answer")
BATCH = Histogram("seg_batch_images", "images that were predicted together", buckets=(1, 2, 4, 8, 16, 32))
WAITING = Gauge("seg_waiting_images", "images that wait or are predicted", multiprocess_mode="livesum")


def shown() -> bytes:
    """All figures as text."""
    if SHARED not in os.environ:
        return generate_latest()
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)
    return generate_latest(registry)
