"""Models behind any server that speaks OpenAI's chat completions: vLLM, Ollama, llama.cpp, or a paid one.

The server is not trusted: its answers are bounded in size and time, redirects are not followed, and whatever it echoes
of the key is blotted out before it is shown or kept. The key comes from the environment, travels only to the address
that the user typed, and only over https or to this machine.
"""

import base64
import io
import ipaddress
import json
import os
import random
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import requests
from PIL import Image
from requests.auth import AuthBase
from urllib3.exceptions import HTTPError

from geosemi.annotate.answer import MAX_TEXT
from geosemi.annotate.boxes import Frame
from geosemi.annotate.budget import Budget, tokens_of
from geosemi.annotate.speaker import Query, Reply
from geosemi.errors import ConfigError, ResourceError, UnsafeInput

KEY = "GEOSEMI_API_KEY"
MAX_BODY = 4 * 2**20  # bytes of an answer
_CONNECT, _CHUNK = 10, 2**16
_LONGEST_WAIT = 60.0  # seconds between two tries
_AGAIN = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_MALFORMED = frozenset({400, 422})
# newer models of OpenAI refuse the first name, and any temperature but their own
_OTHERWISE = {"max_tokens": "max_completion_tokens", "temperature": ""}
# what the numbers of known models mean; a wrong guess would shift every box, so others must be told with --frame
_KNOWN: tuple[tuple[str, Frame, int], ...] = (
    (r"qwen[-_.]?2[._]?5[-_.]?vl", Frame.PICTURE, 28),  # of the resized picture, and multiples of 28 are not resized
    (r"qwen[-_.]?2[-_.]?vl", Frame.MILLE, 28),
    (r"qwen[-_.]?3[-_.]?vl", Frame.MILLE, 32),
    (r"gemini", Frame.MILLE_YX, 1),
)


def frame_of(model: str, frame: str | None) -> tuple[Frame, int]:
    """Return what the numbers of a model mean, and the multiple of pixels that it takes without resizing.

    Raises:
        ConfigError: the model is not known and no frame is given, or the frame is none.
    """
    found = next(((f, m) for name, f, m in _KNOWN if re.search(name, model.casefold())), None)
    if frame is not None:
        if frame not in list(Frame) or frame == Frame.SEEN:
            raise ConfigError(f"`--frame {frame}` is not known", hint="choose picture, unit, mille or mille-yx")
        return Frame(frame), found[1] if found else 1
    if found is None:
        raise ConfigError(
            f"it is not known what the boxes of `{model}` mean",
            hint="look it up and say it: `--frame picture` (pixels), unit (0 to 1), mille (0 to 1000) or mille-yx",
        )
    return found


@dataclass(frozen=True)
class ServerSpeaker:
    """A model behind a server; safe to call from several threads.

    Attributes:
        url: of the API, as `http://localhost:8000/v1`.
        model: its name there.
        frame: what the numbers of its boxes mean.
        multiple: pictures whose sides are multiples of it are not resized.
        max_tokens: longest answer.
        workers: calls at once.
        tries: of a call that fails for a reason that passes.
        timeout: seconds for one try, all of its answer included.
        budget: what may be spent.
        key: of the server, or empty.
        sleep: waits between tries, of seconds; None waits until then or until all is given up.
    """

    url: str
    model: str
    frame: Frame
    multiple: int = 1
    max_tokens: int = 2048
    workers: int = 4
    tries: int = 6
    timeout: float = 120.0
    budget: Budget = field(default_factory=Budget)
    key: str = field(default="", repr=False)
    sleep: Callable[[float], object] | None = field(default=None, repr=False, compare=False)
    batch: int = field(default=1, init=False)
    _over: threading.Event = field(default_factory=threading.Event, init=False, repr=False, compare=False)
    _unwanted: set[str] = field(default_factory=set, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _require_address(self.url, bool(self.key))

    @classmethod
    def from_environment(cls, *, key_env: str = KEY, **values: Any) -> "ServerSpeaker":
        """Make one whose key is in an environment variable; without it none is sent."""
        return cls(key=os.environ.get(key_env, "").strip(), **values)

    @property
    def identity(self) -> Mapping[str, Any]:
        """Provider, model and the decoding that is asked for; not the address, which may change, and never the key."""
        decoding = {"temperature": 0, "max_tokens": self.max_tokens}
        return {"provider": "openai", "model": self.model, "revision": "", "decoding": decoding}

    def ask(self, queries: Sequence[Query]) -> list[Reply]:
        """Return a reply to each query.

        Raises:
            ResourceError: the server did not answer in all tries, or the budget is spent.
            ConfigError: it refuses for a reason that stays: a wrong key, model or request.
        """
        return [self._one(query) for query in queries]

    def give_up(self) -> None:
        """Try nothing again, and begin nothing."""
        self._over.set()

    def _one(self, query: Query) -> Reply:
        request = self._request(query)
        worst = tokens_of(query.rgb.shape[0] * query.rgb.shape[1], len(query.question))
        cause = ""
        for number in range(self.tries):
            if number:
                (self.sleep or self._over.wait)(_pause(number, cause))
            if self._over.is_set():
                break
            self.budget.reserve(worst, self.max_tokens)
            spoken = self._spoken(request)
            status, content, cause = self._post(json.dumps(spoken).encode())
            reply = _reply(content, query) if status == 200 else None
            self.budget.settle(worst, self.max_tokens, reply)
            if reply is not None:
                return self._without_key(reply)
            if (
                status != 200
                and status not in _AGAIN
                and status != 0
                and not self._understands(status, content, spoken)
            ):
                self._over.set()  # the other threads need not find out for themselves
                raise self._refused(status, content)
            cause = cause or f"status {status}" + ("" if status != 200 else " without an answer that could be read")
        self._over.set()
        raise ResourceError(
            f"`{self.url}` did not answer in {self.tries} tries ({self._clean(cause)})",
            hint="answers so far are kept: see that the server runs, and run the same command again",
        )

    def _request(self, query: Query) -> dict[str, Any]:
        memory = io.BytesIO()
        Image.fromarray(query.rgb).save(memory, "PNG")
        picture = "data:image/png;base64," + base64.b64encode(memory.getvalue()).decode()
        content = [
            {"type": "image_url", "image_url": {"url": picture}},
            {"type": "text", "text": query.question},
        ]
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": content}],
            "temperature": 0,
            "max_tokens": self.max_tokens,
            "stream": False,
        }

    def _spoken(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return a request in the words that the server takes, as far as it has told."""
        words = {key: _OTHERWISE[key] if key in self._unwanted else key for key in request}
        return {words[key]: value for key, value in request.items() if words[key]}

    def _understands(self, status: int, content: bytes, spoken: Mapping[str, Any]) -> bool:
        """Tell whether a refusal names a parameter that can be said otherwise, or left out; it is, from now on."""
        said = content[:MAX_TEXT].decode("utf-8", "replace")
        named = [key for key in _OTHERWISE if key in spoken and re.search(rf"\b{key}\b", said)]
        self._unwanted.update(named)
        return status in _MALFORMED and bool(named)

    def _post(self, body: bytes) -> tuple[int, bytes, str]:
        """Return status, body and cause of failure; status 0 where there was no answer. Bounded in bytes and time."""
        end = time.monotonic() + self.timeout
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        try:
            with requests.post(
                self.url.rstrip("/") + "/chat/completions", data=body, headers=headers, auth=_Bearer(self.key),
                timeout=(_CONNECT, self.timeout), stream=True, allow_redirects=False,
            ) as answer:  # fmt: skip
                content = b""
                read = getattr(answer.raw, "read1", answer.raw.read)  # urllib3 before 2.1 waits for a whole chunk
                while chunk := read(_CHUNK):
                    content += chunk
                    if len(content) > MAX_BODY:
                        return 0, b"", f"an answer of more than {MAX_BODY // 2**20} MiB"
                    if time.monotonic() > end:
                        return 0, b"", f"no end of the answer in {self.timeout:g} s"
                wait = answer.headers.get("Retry-After", "")
                return answer.status_code, content, f"wait {wait}" if answer.status_code in _AGAIN and wait else ""
        except (requests.RequestException, HTTPError, OSError) as error:  # urllib3's own, where a body ends early
            return 0, b"", type(error).__name__

    def _refused(self, status: int, content: bytes) -> ConfigError:
        said = self._clean(content[:2000].decode("utf-8", "replace"))[:200]
        hints = {
            401: "set its key in the environment variable that `--key-env` names",
            403: "the key may not use this model",
            404: "check `--url` (it mostly ends in /v1) and `--model`",
            413: "send smaller pictures: `--picture 448`",
        }
        what = "is a redirect, which is not followed" if 300 <= status < 400 else f"refuses with status {status}"
        return ConfigError(
            f"`{self.url}` {what}" + (f": {said}" if said else ""),
            hint=hints.get(status, "look at the server's own log"),
        )

    def _without_key(self, reply: Reply) -> Reply:
        return Reply(self._blotted(reply.text)[:MAX_TEXT], reply.cut, reply.seen, reply.tokens_in, reply.tokens_out)

    def _blotted(self, text: str) -> str:
        return text.replace(self.key, "[key]") if len(self.key) > 3 else text

    def _clean(self, text: str) -> str:
        return "".join(c if c.isprintable() else " " for c in self._blotted(text)).strip()


class _Bearer(AuthBase):
    """Sends the key; that it is given keeps `requests` from sending one out of ~/.netrc."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request


def _reply(content: bytes, query: Query) -> Reply | None:
    """Read a chat completion; None where it is none."""
    try:
        value = json.loads(content)
        choice = value["choices"][0]
        text = choice["message"]["content"]
        if isinstance(text, list):  # parts of text
            text = "".join(part.get("text", "") for part in text)
        if text is None:  # a refusal, or thoughts that used up all tokens: nothing was said
            text = ""
        usage = value.get("usage") or {}
        counts = [n if isinstance(n := usage.get(k), int) and 0 <= n < 10**9 else None for k in _USAGE]
        cut = choice.get("finish_reason") == "length"
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None
    if not isinstance(text, str):
        return None
    height, width = query.rgb.shape[:2]
    return Reply(text[:MAX_TEXT], cut, (height, width), counts[0], counts[1])


_USAGE = ("prompt_tokens", "completion_tokens")


def _pause(number: int, cause: str) -> float:
    """Return the seconds before a try: what the server asks for, else 1, 2, 4, … with up to a half more at random."""
    asked = re.fullmatch(r"wait (\d{1,6}(?:\.\d{1,3})?)", cause)
    if asked:
        return min(float(asked[1]), _LONGEST_WAIT)
    spread = 1 + random.SystemRandom().random() / 2  # so that several workers do not come back together
    return min(2.0 ** (number - 1) * spread, _LONGEST_WAIT)


def _require_address(url: str, with_key: bool) -> None:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    if parts.scheme not in {"http", "https"} or not host or parts.query or parts.fragment or port == 0:
        raise ConfigError(f"`--url {url}` is no address of a server", hint="write it as http://localhost:8000/v1")
    if parts.username or parts.password:
        raise UnsafeInput("`--url` holds a password", hint="put the key into the environment, see `--key-env`")
    if with_key and parts.scheme == "http" and not _is_here(host):
        raise UnsafeInput(
            f"`{url}` would carry the key unencrypted", hint="use https, or run without a key: unset its variable"
        )


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
