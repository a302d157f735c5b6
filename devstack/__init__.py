"""Real Kafka, Temporal and PostgreSQL as child processes, for development and for tests.

    async with Stack(Path(".stack"), Ports.preferred(print)) as stack:
        stack.endpoints.db_url

It needs no Docker and knows nothing of the service. `python -m devstack.install` fetches in
advance what a first start would fetch.
"""

from devstack.child import Child
from devstack.errors import InUse, NotInstalled, StackError, StartFailed
from devstack.ports import Ports, free_port, preferred_port
from devstack.server import Server
from devstack.stack import Endpoints, Stack
from devstack.temporal_cli import temporal_cli
from devstack.time_skipping import time_skipping_executable

__all__ = [
    "Child",
    "Endpoints",
    "InUse",
    "NotInstalled",
    "Ports",
    "Server",
    "Stack",
    "StackError",
    "StartFailed",
    "free_port",
    "preferred_port",
    "temporal_cli",
    "time_skipping_executable",
]
