"""A migrated database for whoever asks, cloned from a template."""

import contextlib
import uuid
from collections.abc import AsyncIterator
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from persistence.migrate import migrate


async def make_template(server_url: str) -> str:
    """Create a migrated database to clone from; return its name."""
    name = f"template_{uuid.uuid4().hex}"
    await _admin(server_url, f'CREATE DATABASE "{name}"')
    await migrate(_with_database(server_url, name))
    return name


@contextlib.asynccontextmanager
async def fresh_database(server_url: str, template: str) -> AsyncIterator[str]:
    """Yield the URL of a new clone of ``template``; drop it, with its sessions, at the end."""
    name = f"test_{uuid.uuid4().hex}"
    await _admin(server_url, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    try:
        yield _with_database(server_url, name)
    finally:
        await _admin(server_url, f'DROP DATABASE "{name}" WITH (FORCE)')


def _with_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


async def _admin(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()
