# A model at work: `seg serve`, of the wheel in dist/ (pip wheel --no-deps -w dist .). docs/how-to/serve.md says how it is built and run.
FROM python:3.12-slim-bookworm

# The index of torch's wheels: https://download.pytorch.org/whl/cpu, or .../cu126 for GPUs.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

SHELL ["/bin/bash", "-o", "pipefail", "-c"]
COPY dist/*.whl /tmp/dist/
# The wheel's metadata bound the versions.
# hadolint ignore=DL3013
RUN pip install --no-cache-dir --index-url "${TORCH_INDEX}" torch torchvision \
 && wheel="$(find /tmp/dist -name 'seg-*.whl' | head -n 1)" \
 && pip install --no-cache-dir "${wheel}[serve,export]" \
 && rm -r /tmp/dist \
 && useradd --create-home --uid 1000 seg

USER 1000
WORKDIR /home/seg
ENV PYTHONUNBUFFERED=1
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
  CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
ENTRYPOINT ["seg"]
CMD ["serve", "/models/best.ckpt", "serve.host=0.0.0.0"]
