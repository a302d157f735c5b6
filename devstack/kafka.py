"""Kafka 4.4: one node that is broker and controller (KRaft)."""

from __future__ import annotations

import asyncio
import base64
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

from devstack.cache import cache_directory
from devstack.errors import StartFailed
from devstack.java import JAVA, JAVA_HOME, classpath, lock_id
from devstack.ports import LOOPBACK, free_port
from devstack.server import Home, NotReady, Server

MAX_MESSAGE_BYTES = 4 * 1024 * 1024
"""1 MiB of data must pass, and as a dead letter once more with more headers."""

_JVM = (
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
    "-XX:-UsePerfData",  # leaves a file in the temporary directory when killed
)

_STARTUP_CACHE = (
    "-XX:+UnlockDiagnosticVMOptions",
    "-XX:-AOTAdapterCaching",  # finds some under a wrong name and warns (JDK-8364929)
)

_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller}
advertised.listeners=PLAINTEXT://{host}:{port}
controller.listener.names=CONTROLLER
log.dirs={logs}

# Nothing to replicate to, and little to spread: one partition makes the first join quick.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0

# A broker killed and started again registers only when its former life has timed out.
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000

auto.create.topics.enable=false
message.max.bytes={max_bytes}
replica.fetch.max.bytes={max_bytes}
"""

_LOGGING = """\
status=WARN
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{ISO8601} %-5p %c{1} - %m%n
rootLogger.level=INFO
rootLogger.appenderRef.out.ref=out
logger.settings.name=org.apache.kafka.common.config.AbstractConfig
logger.settings.level=WARN
"""


class Kafka(Server):
    """The broker. Data survives `stop`, `kill` and the end of the stack."""

    name = "kafka"

    def __init__(self, home: Home, port: int, train: Path | None = None) -> None:
        """`train`: write a start-up cache to this file when the broker is stopped."""
        super().__init__(home, port)
        self._train = train

    async def prepare(self) -> None:
        self.data.mkdir(parents=True, exist_ok=True)
        (self.data / "log4j2.properties").write_text(_LOGGING)
        logs = self.data / "data"
        if not logs.exists():
            await self._format(logs)
        self._write_properties("data")

    async def command(self) -> Sequence[str | Path]:
        if self._train is not None:
            options = [*_STARTUP_CACHE, f"-XX:AOTCacheOutput={self._train}"]
        else:
            options = _startup_cache_options()
        return _java(options, "kafka.Kafka", "server.properties")

    async def probe(self) -> None:
        from aiokafka.admin import AIOKafkaAdminClient
        from aiokafka.errors import KafkaError

        try:  # aiokafka logs an error for a port that is closed
            _, writer = await asyncio.open_connection(LOOPBACK, self.port)
        except OSError as error:
            raise NotReady(str(error)) from None
        writer.close()
        admin = AIOKafkaAdminClient(bootstrap_servers=self.where, request_timeout_ms=5000)
        try:
            await admin.start()
            if not (await admin.describe_cluster())["brokers"]:
                raise NotReady("no broker is registered yet")
        except (KafkaError, OSError) as error:
            raise NotReady(str(error)) from None
        finally:
            await admin.close()

    async def _format(self, logs: Path) -> None:
        """Make the data directory; it gets its name only when it is whole."""
        unfinished = logs.with_suffix(".new")
        shutil.rmtree(unfinished, ignore_errors=True)
        self._write_properties(unfinished.name)
        tool = _java(_startup_cache_options(), "kafka.tools.StorageTool", "format")
        child = await self.spawn([*tool, "-t", _cluster_id(), "-c", "server.properties"])
        try:
            code = await child.wait()
        except asyncio.CancelledError:
            await child.kill()
            raise
        if code != 0:
            raise StartFailed(f"kafka: formatting failed; {self.log} ends:\n{self.last_lines()}")
        unfinished.rename(logs)

    def _write_properties(self, logs: str) -> None:
        properties = _PROPERTIES.format(
            host=LOOPBACK,
            port=self.port,
            controller=free_port({self.port}),
            logs=logs,
            max_bytes=MAX_MESSAGE_BYTES,
        )
        (self.data / "server.properties").write_text(properties)


def _cluster_id() -> str:
    """A random id; never one with a dash in front, which the tool would take for an option."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):
            return text


def _java(options: Sequence[str], main: str, *arguments: str) -> list[str | Path]:
    logging = "-Dlog4j2.configurationFile=log4j2.properties"
    return [JAVA, *_JVM, *options, logging, "-cp", classpath("kafka"), main, *arguments]


def startup_cache() -> Path:
    """Where the JVM keeps Kafka's classes ready loaded (JEP 483). The name changes with whatever
    would make the JVM refuse the file: its own build, the jars, the options.
    """
    modules = JAVA_HOME / "lib" / "modules"
    stat = modules.stat()
    parts = (lock_id("kafka"), str(modules), stat.st_size, stat.st_mtime_ns, *_JVM, *_STARTUP_CACHE)
    return cache_directory() / f"kafka-{uuid.uuid5(uuid.NAMESPACE_URL, repr(parts)).hex[:12]}.aot"


def _startup_cache_options() -> list[str]:
    path = startup_cache()
    return [*_STARTUP_CACHE, f"-XX:AOTCache={path}"] if path.exists() else []
