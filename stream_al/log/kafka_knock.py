"""Why no broker answers: a connection made by hand, since the client keeps the reason to itself."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

SECONDS = 2.0


def knock(bootstrap: Iterable[str], security: Mapping[str, Any]) -> OSError | None:
    """Return what stands in the way of a connection to the brokers.

    Parameters
    ----------
    bootstrap : iterable of str
        ``host:port``; ``host`` alone is port 9092.
    security : mapping
        The client's own keys: ``security_protocol``, ``ssl_…``.

    Returns
    -------
    OSError or None
        The broker's certificate or TLS if it is that (an ``ssl.SSLError``), else the network. None where a
        connection is made: then the broker listens, and does not like what it hears.
    """
    found: list[OSError] = []
    for address in bootstrap:
        try:
            _connect(address, security)
        except OSError as error:
            found.append(error)
        else:
            return None
    return next((error for error in found if isinstance(error, ssl.SSLError)), found[0] if found else None)


def _connect(address: str, security: Mapping[str, Any]) -> None:
    parts = urlsplit(f"//{address}")
    with socket.create_connection((parts.hostname, parts.port or 9092), timeout=SECONDS) as plain:
        if not security.get("security_protocol", "").endswith("SSL"):
            return
        context = ssl.create_default_context(cafile=security.get("ssl_cafile"))
        context.check_hostname = security.get("ssl_check_hostname", True)
        if security.get("ssl_certfile"):
            context.load_cert_chain(
                security["ssl_certfile"], security.get("ssl_keyfile"), security.get("ssl_password")
            )
        with context.wrap_socket(plain, server_hostname=parts.hostname):
            pass
