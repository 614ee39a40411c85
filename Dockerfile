# The page in a container, without a GPU:
#   docker build -t gen .
#   docker run -p 7860:7860 -e GEN_USERS=ann:secret -v gen-results:/results gen
# GEN_USERS names who may log in; without it the server does not start, because others can reach it.
FROM python:3.12-slim

# torch's build for CPUs: the usual one brings 5 GB for NVIDIA GPUs.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

WORKDIR /gen
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY gen gen
RUN pip install --no-cache-dir --extra-index-url "$TORCH_INDEX" -c constraints.txt '.[fast]'

COPY weights weights
COPY samples samples
ENV GEN_WEIGHTS=/gen/weights

RUN useradd --create-home --uid 1000 gen && mkdir /results && chown gen /results
USER 1000
VOLUME /results
EXPOSE 7860
HEALTHCHECK --start-period=60s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/')"]
CMD ["gen", "app", "--host", "0.0.0.0", "--port", "7860", "--results", "/results"]
