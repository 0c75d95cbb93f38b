"""One question to a server that is not trusted, bounded in bytes and in time from the first byte to the last."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from urllib3.exceptions import HTTPError

from geosemi.annotate.address import is_plain

MAX_BODY = 4 * 2**20  # bytes of an answer
_CONNECT, _CHUNK = 10.0, 2**16


@dataclass(frozen=True, slots=True)
class Posted:
    """What came back.

    Attributes:
        status: of HTTP; 0 where there was no answer.
        content: the body.
        cause: why there was no answer, or empty.
        wait: what the server says about coming back (`Retry-After`), or empty.
    """

    status: int
    content: bytes = b""
    cause: str = ""
    wait: str = ""


def post(url: str, body: bytes, *, key: str, timeout: float) -> Posted:
    """Send JSON and return what comes back.

    Nothing is asked of ~/.netrc. Proxies of the environment are used for https alone, where they see an address and
    no more; over plain http they would read the key, even that of a server on this machine.

    Args:
        url: of the API's function.
        body: JSON.
        key: sent as a bearer token; empty for none.
        timeout: seconds for all of it.
    """
    headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
    with _watched(timeout) as watch, requests.Session() as session:
        session.trust_env = not is_plain(url)
        for scheme in ("http://", "https://"):
            session.mount(scheme, _Adapter(watch))
        late = Posted(0, cause=f"no end of the answer in {timeout:g} s")
        try:
            with session.post(
                url, data=body, headers=headers, auth=_Bearer(key), timeout=(min(_CONNECT, timeout), timeout),
                stream=True, allow_redirects=False,
            ) as answer:  # fmt: skip
                found = _read(answer)
        except (requests.RequestException, HTTPError, OSError) as error:  # urllib3's own, where a body ends early
            found = Posted(0, cause=type(error).__name__)
        # a body without a length seems to be whole where the watch has ended it
        return late if watch.over else found


def _read(answer: requests.Response) -> Posted:
    content = b""
    read = getattr(answer.raw, "read1", answer.raw.read)  # urllib3 before 2.1 waits for a whole chunk
    while chunk := read(_CHUNK):
        content += chunk
        if len(content) > MAX_BODY:
            return Posted(0, cause=f"an answer of more than {MAX_BODY // 2**20} MiB")
    return Posted(answer.status_code, content, wait=answer.headers.get("Retry-After", ""))


class _Bearer(AuthBase):
    """Sends the key; that it is given keeps `requests` from sending one out of ~/.netrc."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request


class _Watch:
    """Ends connections at a deadline.

    Timeouts of sockets count from byte to byte, so a server that sends one now and then, in the head of its answer,
    in a handshake or as one `100 Continue` after the other, would never meet them.
    """

    def __init__(self) -> None:
        self.over = False
        self._lock = threading.Lock()
        self._lines: list[socket.socket] = []

    def add(self, line: socket.socket) -> None:
        """Watch a connection, whatever is wrapped around it later."""
        with self._lock:
            self._lines.append(line.dup())
        if self.over:
            self.end()

    def end(self) -> None:
        """Hang up; whoever waits for a byte is told that there are none."""
        with self._lock:
            self.over = True
            for line in self._lines:
                with suppress(OSError):  # the server was faster
                    line.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of the connections."""
        with self._lock:
            for line in self._lines:
                line.close()
            self._lines.clear()


@contextmanager
def _watched(seconds: float) -> Iterator[_Watch]:
    watch = _Watch()
    timer = threading.Timer(seconds, watch.end)
    timer.daemon = True
    timer.start()
    try:
        yield watch
    finally:
        timer.cancel()
        watch.close()


class _Adapter(HTTPAdapter):
    """Shows the connections that are made to a watch."""

    def __init__(self, watch: _Watch) -> None:
        self._watch = watch
        super().__init__()

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        pool.ConnectionCls = _shown_to(self._watch, pool.ConnectionCls)
        return pool


def _shown_to(watch: _Watch, kind: Any) -> Any:
    class Shown(kind):  # type: ignore[misc]
        def _new_conn(self) -> socket.socket:
            line: socket.socket = super()._new_conn()
            watch.add(line)
            return line

    return Shown
