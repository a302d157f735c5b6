"""The servers, and a Kafka that can be reached over links.

A Kafka client goes where the broker says it is. So every link has a listener of its own, whose
advertised address is the link's.
"""

from collections.abc import Mapping
from pathlib import Path

from devstack import Ports, Stack, free_port
from devstack.cache import Say
from devstack.kafka import Kafka
from devstack.server import Home
from tests.chaos.links import Link


class LinkedKafka(Kafka):
    """A broker with one more listener for each link, on the port that the link leads to."""

    def __init__(self, home: Home, port: int, links: Mapping[int, Link]) -> None:
        super().__init__(home, port)
        self._links = links

    def _write_properties(self, logs: str) -> None:
        super()._write_properties(logs)
        file = self.data / "server.properties"
        listeners = "".join(f",LINK{port}://127.0.0.1:{port}" for port in self._links)
        advertised = "".join(
            f",LINK{port}://127.0.0.1:{link.port}" for port, link in self._links.items()
        )
        protocols = "".join(f",LINK{port}:PLAINTEXT" for port in self._links)
        lines = []
        for line in file.read_text().splitlines():
            if line.startswith("listeners="):
                lines.append(line + listeners)
            elif line.startswith("advertised.listeners="):
                lines.append(line + advertised)
            else:
                lines.append(line)
        lines.append(
            f"listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT{protocols}"
        )
        lines.append("inter.broker.listener.name=PLAINTEXT")
        file.write_text("\n".join(lines) + "\n")


class LinkedStack(Stack):
    """Kafka, Temporal and PostgreSQL; ``kafka_links`` by the port that each leads to."""

    def __init__(self, directory: Path, say: Say, kafka_links: Mapping[int, Link]) -> None:
        super().__init__(directory, Ports.free(), say)
        self._kafka_links = kafka_links

    def _make_servers(self) -> None:
        super()._make_servers()
        linked = LinkedKafka(self.kafka.home, self.kafka.port, self._kafka_links)
        self._servers = tuple(linked if s is self.kafka else s for s in self._servers)
        self.kafka = linked


def kafka_link(label: str, taken: set[int]) -> tuple[int, Link]:
    """Make a link to a listener that the broker will have; not yet listening itself."""
    port = free_port(taken)
    return port, Link(f"{label}>kafka", "127.0.0.1", port)
