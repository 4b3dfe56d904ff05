# One image for every role: API, page, lanes and judge. Kernels are compiled inside, so it carries g++.
FROM python:3.11-slim-bookworm
RUN apt-get update \
    && apt-get install -y --no-install-recommends g++ git bubblewrap \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY constraints.txt ./
RUN pip install --no-cache-dir --constraint constraints.txt setuptools torch
COPY pyproject.toml README.md ./
COPY deep_agent ./deep_agent
COPY services ./services
RUN pip install --no-cache-dir --constraint constraints.txt --no-build-isolation --editable '.[worker]'
COPY problems ./problems
ENV DEEP_AGENT_HOME=/var/lib/deep-agent DEEP_AGENT_HOST=0.0.0.0 DEEP_AGENT_PORT=8421
RUN useradd --create-home deep-agent && install -d -o deep-agent /var/lib/deep-agent
USER deep-agent
EXPOSE 8421
CMD ["deep-agent", "serve"]
