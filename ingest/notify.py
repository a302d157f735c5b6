"""Tell a supervisor that this process is ready: the sd_notify protocol of systemd.

The same line serves ``make up``, a systemd unit of ``Type=notify``, and nobody at all.
"""

import os
import socket


def ready() -> None:
    """Send ``READY=1`` to the socket named by ``NOTIFY_SOCKET``; without one do nothing."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.connect(address)
        sock.send(b"READY=1")
