"""Ports: the well-known ones where they are free, others where they are not."""

import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from devstack import Ports, free_port, preferred_port


@pytest.fixture
def taken() -> Iterator[int]:
    with closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock.getsockname()[1]


def test_a_taken_port_is_replaced_by_a_free_one_and_that_is_said(taken: int) -> None:
    said: list[str] = []
    port = preferred_port("Kafka", taken, said.append)
    assert port != taken
    assert said == [f"port {taken} is taken: Kafka uses {port} instead"]
    with closing(socket.socket()) as sock:
        sock.bind(("127.0.0.1", port))


def test_a_port_that_only_ipv6_uses_is_taken_too() -> None:
    with closing(socket.socket(socket.AF_INET6)) as sock:
        try:
            sock.bind(("::1", 0))
        except OSError:
            pytest.skip("no IPv6 here")
        sock.listen()
        port = sock.getsockname()[1]
        assert preferred_port("Kafka", port, lambda _: None) != port


def test_a_free_port_is_kept_and_nothing_said() -> None:
    port = free_port()
    assert preferred_port("Kafka", port, pytest.fail) == port


def test_ports_of_one_stack_differ() -> None:
    for ports in (Ports.free(), Ports.preferred(lambda _: None)):
        assert len({ports.kafka, ports.temporal, ports.temporal_ui, ports.postgres}) == 4


def test_free_ports_are_none_the_kernel_gives_to_outgoing_connections() -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert all(free_port() < first for _ in range(20))
