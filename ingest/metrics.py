"""What the ingest process shows of itself to Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram


class Metrics:
    """The numbers of one ingest process, on a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.commands = Counter(
            "orders_commands",
            "Commands by what became of them",
            ["outcome"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "orders_command_seconds",
            "From reading a command to its end here, waiting included",
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300),
            registry=self.registry,
        )
        self.lag = self._gauge("lag", "Records on the topic that are not finished", "partition")
        self.in_flight = self._gauge("in_flight", "Commands being handled now")
        self.held = self._gauge("held", "Records in memory that are not finished")
        self.lanes = self._gauge("lanes", "Orders with commands in memory")
        self.paused = self._gauge("paused_partitions", "Partitions that are not read", "reason")
        self.waiting_starts = self._gauge("waiting_starts", "Starts that wait for admission")
        self.unreceived = self._gauge(
            "unreceived_starts", "Starts that were delivered and no worker has received yet"
        )
        self.in_motion = self._gauge("in_motion", "Orders in motion when last counted")
        self.away = self._gauge("server_away", "1 while a server does not answer", "server")
        self.rebalances = Counter(
            "orders_ingest_rebalances", "Times partitions were taken away", registry=self.registry
        )

    def outcomes(self) -> dict[str, int]:
        """Return how many commands ended in each way."""
        return {
            sample.labels["outcome"]: int(sample.value)
            for family in self.commands.collect()
            for sample in family.samples
            if sample.name.endswith("_total")
        }

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"orders_ingest_{name}", text, labels, registry=self.registry)
