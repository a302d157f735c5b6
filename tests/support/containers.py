"""The same three servers as containers, for machines where a Docker engine answers."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, Self

from testcontainers.community.kafka import KafkaContainer
from testcontainers.community.postgres import PostgresContainer
from testcontainers.core.container import DockerContainer
from testcontainers.core.waiting_utils import wait_for_logs

from devstack import Endpoints

POSTGRES_IMAGE: Final = "postgres:18.1"
KAFKA_IMAGE: Final = "confluentinc/cp-kafka:8.1.0"
TEMPORAL_IMAGE: Final = "temporalio/temporal:1.5.1"


class NoDocker(Exception):
    """No Docker engine answers."""


def require_docker() -> None:
    """Raise ``NoDocker`` with a clear text unless a Docker engine answers."""
    import docker

    try:
        with contextlib.closing(docker.from_env(timeout=5)) as client:
            client.ping()
    except docker.errors.DockerException as error:
        raise NoDocker(
            "ORDERS_TEST_STACK=containers needs a Docker engine and none answers "
            f"({error}). Start Docker, or run the tests without ORDERS_TEST_STACK."
        ) from error


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _on_loopback(port: int) -> Any:
    """Return what the Docker client takes for a host port on loopback only."""
    return "127.0.0.1", port


class ContainerServer:
    """One server in a container, with the verbs that the embedded servers have."""

    def __init__(self, container: DockerContainer) -> None:
        self._container = container

    async def start(self) -> None:
        await asyncio.to_thread(self._container.get_wrapped_container().start)

    async def stop(self) -> None:
        await asyncio.to_thread(self._container.get_wrapped_container().stop)

    async def kill(self) -> None:
        await asyncio.to_thread(self._container.get_wrapped_container().kill)

    async def restart(self) -> None:
        await asyncio.to_thread(self._container.get_wrapped_container().restart)


class ContainerStack:
    """Kafka, Temporal and PostgreSQL by testcontainers; host ports stay over a restart."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._started: list[DockerContainer] = []

    async def __aenter__(self) -> Self:
        try:
            await asyncio.to_thread(self._start)
        except BaseException:
            await asyncio.to_thread(self._stop)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self._stop)

    def _start(self) -> None:
        postgres_port, kafka_port, temporal_port, ui_port = (_free_port() for _ in range(4))
        postgres = PostgresContainer(
            POSTGRES_IMAGE, username="orders", password="orders", dbname="orders", driver=None
        ).with_bind_ports(5432, _on_loopback(postgres_port))
        kafka = KafkaContainer(KAFKA_IMAGE).with_kraft()
        kafka.with_bind_ports(9093, _on_loopback(kafka_port))
        kafka.with_env("KAFKA_MESSAGE_MAX_BYTES", str(4 * 1024 * 1024))
        kafka.with_env("KAFKA_AUTO_CREATE_TOPICS_ENABLE", "false")
        temporal = (
            DockerContainer(TEMPORAL_IMAGE)
            .with_command("server start-dev --ip 0.0.0.0")
            .with_bind_ports(7233, _on_loopback(temporal_port))
            .with_bind_ports(8233, _on_loopback(ui_port))
        )
        for name, container in (("postgres", postgres), ("kafka", kafka), ("temporal", temporal)):
            container.start()
            self._started.append(container)
            self._say(f"{name} ready in a container")
        wait_for_logs(temporal, "Server:", timeout=60)
        self.postgres, self.kafka, self.temporal = map(ContainerServer, self._started)
        self.endpoints = Endpoints(
            db_url=f"postgresql://orders:orders@127.0.0.1:{postgres_port}/orders",
            kafka_bootstrap=f"127.0.0.1:{kafka_port}",
            temporal_host="127.0.0.1",
            temporal_port=temporal_port,
            temporal_ui_url=f"http://127.0.0.1:{ui_port}",
        )

    def _stop(self) -> None:
        while self._started:
            self._started.pop().stop()
