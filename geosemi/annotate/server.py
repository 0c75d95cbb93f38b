"""Models behind any server that speaks OpenAI's chat completions: vLLM, Ollama, llama.cpp, or a paid one.

The server is not trusted: its answers are bounded in size and time, redirects are not followed, and whatever it echoes
of the key is blotted out before it is shown or kept. The key comes from the environment, travels only to the address
that the user typed, and only over https or to this machine.
"""

import base64
import io
import json
import os
import random
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from geosemi.annotate.address import require_address
from geosemi.annotate.answer import MAX_TEXT, whole_characters
from geosemi.annotate.boxes import Frame
from geosemi.annotate.budget import Budget, tokens_of
from geosemi.annotate.posting import Posted, post
from geosemi.annotate.speaker import Query, Reply
from geosemi.errors import ConfigError, ResourceError

KEY = "GEOSEMI_API_KEY"
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
        require_address(self.url, with_key=bool(self.key))

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
        found = Posted(0)
        for number in range(self.tries):
            if number:
                (self.sleep or self._over.wait)(_pause(number, found.wait))
            if self._over.is_set():
                break
            self.budget.reserve(worst, self.max_tokens)
            spoken = self._spoken(request)
            found = self._post(json.dumps(spoken).encode())
            reply = _reply(found.content, query) if found.status == 200 else None
            self.budget.settle(worst, self.max_tokens, reply)
            if reply is not None:
                return self._without_key(reply)
            passing = found.status in _AGAIN or found.status in {0, 200}
            if not passing and not self._understands(found.status, found.content, spoken):
                self._over.set()  # the other threads need not find out for themselves
                raise self._refused(found.status, found.content)
        self._over.set()
        raise ResourceError(
            f"`{self.url}` did not answer in {self.tries} tries ({self._clean(_cause(found))})",
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

    def _post(self, body: bytes) -> Posted:
        return post(self.url.rstrip("/") + "/chat/completions", body, key=self.key, timeout=self.timeout)

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
    return Reply(whole_characters(text[:MAX_TEXT]), cut, (height, width), counts[0], counts[1])


_USAGE = ("prompt_tokens", "completion_tokens")


def _cause(found: Posted) -> str:
    """Say why a try failed."""
    if found.status == 0:
        return found.cause or "nothing was sent"
    unread = " without an answer that could be read" if found.status == 200 else ""
    return f"status {found.status}{unread}" + (f", come back after {found.wait[:40]}" if found.wait else "")


def _pause(number: int, asks: str) -> float:
    """Return the seconds before a try: what the server asks for, else 1, 2, 4, … with up to a half more at random."""
    asked = re.fullmatch(r"\d{1,6}(?:\.\d{1,3})?", asks)
    if asked:
        return min(float(asked[0]), _LONGEST_WAIT)
    spread = 1 + random.SystemRandom().random() / 2  # so that several workers do not come back together
    return min(2.0 ** (number - 1) * spread, _LONGEST_WAIT)
