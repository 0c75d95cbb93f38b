"""Where a server may be: addresses that could give away a key are refused before anything is sent."""

import ipaddress
from urllib.parse import urlsplit

from geosemi.errors import ConfigError, UnsafeInput


def require_address(url: str, *, with_key: bool) -> None:
    """Refuse what is no address of a server, and what would carry a key in the clear.

    Raises:
        ConfigError: it is no http(s) address.
        UnsafeInput: it holds a password, or is plain http to another machine and a key would go with it.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    if parts.scheme not in {"http", "https"} or not host or parts.query or parts.fragment or port == 0:
        raise ConfigError(f"`--url {url}` is no address of a server", hint="write it as http://localhost:8000/v1")
    if parts.username or parts.password:
        raise UnsafeInput("`--url` holds a password", hint="put the key into the environment, see `--key-env`")
    if with_key and is_plain(url) and not _is_here(host):
        raise UnsafeInput(
            f"`{url}` would carry the key unencrypted", hint="use https, or run without a key: unset its variable"
        )


def is_plain(url: str) -> bool:
    """Tell whether whatever lies between could read what is sent."""
    return urlsplit(url).scheme != "https"


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
