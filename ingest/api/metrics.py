"""What the API shows of itself to Prometheus."""

import time
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The numbers of one API process, on a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.seconds = Histogram(
            "orders_api_request_seconds",
            "Requests by how long they took",
            ["method", "route", "status"],
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.open = Gauge(
            "orders_api_open_requests", "Requests being answered now", registry=self.registry
        )
        self.published = Counter(
            "orders_api_commands_published",
            "Commands that Kafka acknowledged",
            ["type"],
            registry=self.registry,
        )
        self.unpublished = Counter(
            "orders_api_commands_unpublished",
            "Commands that were refused with 503 because Kafka did not answer",
            registry=self.registry,
        )
        self.outbox_waits = Gauge(
            "orders_outbox_oldest_seconds",
            "How long the oldest event has been waiting to be published; NaN: not known just now",
            registry=self.registry,
        )
        self.set_aside = Gauge(
            "orders_outbox_set_aside",
            "Events that the broker refuses, and those behind them; NaN: not known just now",
            registry=self.registry,
        )


class Measured:
    """ASGI middleware: measures each request under the template of its route."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status = 500

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with self._metrics.open.track_inprogress():
            try:
                await self._app(scope, receive, noting)
            finally:
                route = getattr(scope.get("route"), "path", "none")
                labels = self._metrics.seconds.labels(scope["method"], route, status)
                labels.observe(time.perf_counter() - began)
