FROM python:3.13.9-slim-trixie AS build
WORKDIR /src
COPY requirements/service.lock requirements/
RUN python -m venv /opt/orders \
 && /opt/orders/bin/pip install --no-cache-dir --require-hashes -r requirements/service.lock
COPY pyproject.toml README.md LICENSE ./
COPY domain domain
COPY persistence persistence
COPY orchestration orchestration
COPY board board
COPY ingest ingest
RUN /opt/orders/bin/pip install --no-cache-dir --no-deps .

FROM python:3.13.9-slim-trixie
RUN useradd --system --no-create-home orders
COPY --from=build /opt/orders /opt/orders
ENV PATH=/opt/orders/bin:$PATH PYTHONUNBUFFERED=1 LOG_FORMAT=json
USER orders
ENTRYPOINT ["orders"]
CMD ["--help"]
