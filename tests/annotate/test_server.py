"""Models behind a server: what it may do wrong, and what it must never learn or leave behind."""

import json
import logging
import socketserver
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from chat_server import Call, chat_server, completion, picture_of

from geosemi.annotate.boxes import Frame
from geosemi.annotate.budget import Budget
from geosemi.annotate.posting import MAX_BODY
from geosemi.annotate.server import ServerSpeaker, frame_of
from geosemi.annotate.speaker import Query, key_of
from geosemi.errors import ConfigError, GeosemiError, ResourceError, UnsafeInput

QUERY = Query(np.arange(56 * 84 * 3, dtype=np.uint8).reshape(56, 84, 3), "What is where?")


def speaker(url: str, **values: object) -> ServerSpeaker:
    defaults = {"model": "qwen3-vl", "frame": Frame.MILLE, "tries": 3, "timeout": 5.0, "sleep": lambda _: None}
    return ServerSpeaker(url, **{**defaults, **values})


@contextmanager
def serving(handler: type[socketserver.BaseRequestHandler]) -> Iterator[int]:
    """Serve on a free port of this machine, and return which."""
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_a_request_and_its_answer():
    with chat_server(lambda call: call.send(200, completion("[]", finish="length"))) as chat:
        (reply,) = speaker(chat.url, max_tokens=77, key="secret-key").ask([QUERY])
    assert (reply.text, reply.cut, reply.seen, reply.tokens_in, reply.tokens_out) == ("[]", True, (56, 84), 1000, 100)
    (request,) = chat.requests
    assert (request["path"], request["model"], request["max_tokens"], request["temperature"]) == (
        "/v1/chat/completions", "qwen3-vl", 77, 0,
    )  # fmt: skip
    assert np.array_equal(picture_of(request), QUERY.rgb)
    assert chat.headers[0]["Authorization"] == "Bearer secret-key"


def test_without_a_key_none_is_sent_not_even_one_of_netrc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password from-netrc\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.delenv("GEOSEMI_API_KEY", raising=False)
    with chat_server(lambda call: call.send(200, completion("[]"))) as chat:
        ServerSpeaker.from_environment(url=chat.url, model="m", frame=Frame.UNIT).ask([QUERY])
    assert "Authorization" not in chat.headers[0]


def fails_first(times: int, fail) -> object:
    def behave(call: Call) -> None:
        if call.number <= times:
            fail(call)
        else:
            call.send(200, completion("later"))

    return behave


PASSING = {
    "429": lambda call: call.send(429, b"slow down"),
    "500": lambda call: call.send(500, b"<html>oops</html>"),
    "503": lambda call: call.send(503, b""),
    "no json": lambda call: call.send(200, b"<html>a proxy's login page</html>"),
    "json of something else": lambda call: call.send(200, {"hello": [1, 2]}),
    "no choices": lambda call: call.send(200, {"choices": []}),
    "numbers for text": lambda call: call.send(200, completion(17)),
    "deep json": lambda call: call.send(200, b"[" * 100_000),
    "cut off": lambda call: call.send(200, json.dumps(completion("[]")).encode()[:20]),
    "shorter than it says": lambda call: call.send(200, b"{}", Content_Length="1000"),
    "hangs up": lambda call: call.handler.connection.close(),
    "too large": lambda call: call.send(200, b" " * (MAX_BODY + 1)),
}


@pytest.mark.parametrize("failure", PASSING)
def test_what_passes_is_tried_again(failure: str):
    with chat_server(fails_first(2, PASSING[failure])) as chat:
        waits: list[float] = []
        (reply,) = speaker(chat.url, sleep=waits.append).ask([QUERY])
    assert reply.text == "later"
    assert len(chat.requests) == 3
    assert 1 <= waits[0] <= 1.5
    assert 2 <= waits[1] <= 3


@pytest.mark.parametrize(
    ("header", "waited"), [("7", 7.0), ("99999", 60.0), ("Wed, 21 Oct 2026 07:28:00 GMT", 1.0), ("-5", 1.0)]
)
def test_a_server_may_say_when_to_come_back(header: str, waited: float):
    waits: list[float] = []
    with chat_server(fails_first(1, lambda call: call.send(429, b"", Retry_After=header))) as chat:
        speaker(chat.url, sleep=waits.append).ask([QUERY])
    assert waits[0] == pytest.approx(waited, rel=0.5 if waited == 1 else 0, abs=1e-9)


def test_a_server_that_never_ends_its_answer_is_left(monkeypatch: pytest.MonkeyPatch):
    begun = time.monotonic()
    with chat_server(lambda call: call.drip(30)) as chat:
        with pytest.raises(
            ResourceError, match=r"did not answer in 2 tries \(no end of the answer in 0\.3 s\)"
        ) as caught:
            speaker(chat.url, timeout=0.3, tries=2).ask([QUERY])
        assert time.monotonic() - begun < 10
    assert "run the same command again" in caught.value.hint


@pytest.mark.parametrize("form", ["drip", "drip_head"])
def test_a_server_that_drips_is_left(form: str):
    """Timeouts of sockets count from byte to byte; the deadline holds for all of an answer, its head included."""
    begun = time.monotonic()
    with chat_server(lambda call: getattr(call, form)(30)) as chat:
        with pytest.raises(ResourceError, match=r"in 2 tries \(no end of the answer in 0\.3 s\)"):
            speaker(chat.url, timeout=0.3, tries=2).ask([QUERY])
        assert time.monotonic() - begun < 10
    assert len(chat.requests) == 2


def test_a_dripping_head_does_not_outlast_the_deadline_when_all_is_given_up():
    begun, here = time.monotonic(), threading.Event()

    def behave(call: Call) -> None:
        here.set()
        call.drip_head(30)

    with chat_server(behave) as chat:
        asked = speaker(chat.url, timeout=1.0, tries=9)
        caught: list[BaseException] = []

        def ask() -> None:
            try:
                asked.ask([QUERY])
            except GeosemiError as error:
                caught.append(error)

        thread = threading.Thread(target=ask)
        thread.start()
        assert here.wait(10)
        asked.give_up()
        thread.join(10)
        assert not thread.is_alive()
        assert time.monotonic() - begun < 10
    assert len(chat.requests) == 1
    assert isinstance(caught[0], ResourceError)


@pytest.mark.parametrize(
    ("begin", "drop"), [(b"\x16\x03\x03\x40\x00", b"\x02"), (b"HTTP/1.1 200 OK\r\nX-Slow: ", b"a")]
)
def test_a_handshake_and_a_proxy_that_drip_are_left(begin: bytes, drop: bytes, monkeypatch: pytest.MonkeyPatch):
    """Before anything is asked: TLS's first record, or what a proxy says to CONNECT, comes byte by byte."""
    heard: list[bytes] = []

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            heard.append(self.request.recv(4000))
            end = time.monotonic() + 30
            with suppress(OSError):
                self.request.sendall(begin)
                while time.monotonic() < end:
                    self.request.sendall(drop)
                    time.sleep(0.02)

    begun = time.monotonic()
    for name in ("https_proxy", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY", "HTTPS_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serving(Handler) as port:
        url = f"https://127.0.0.1:{port}/v1"
        if begin.startswith(b"HTTP"):
            monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{port}")
            url = "https://a.example/v1"
        with pytest.raises(ResourceError, match="no end of the answer"):
            speaker(url, timeout=0.3, tries=1).ask([QUERY])
        assert time.monotonic() - begun < 10
    assert len(heard) == 1


def test_an_endless_100_continue_is_left():
    def behave(call: Call) -> None:
        end = time.monotonic() + 30
        while time.monotonic() < end:
            call.handler.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            time.sleep(0.02)

    begun = time.monotonic()
    with chat_server(behave) as chat:
        with pytest.raises(ResourceError, match="no end of the answer"):
            speaker(chat.url, timeout=0.3, tries=1).ask([QUERY])
        assert time.monotonic() - begun < 10


def test_the_last_failure_is_told_with_its_status():
    with (
        chat_server(lambda call: call.send(429, b"", Retry_After="7")) as chat,
        pytest.raises(ResourceError, match=r"in 3 tries \(status 429, come back after 7\)"),
    ):
        speaker(chat.url).ask([QUERY])


@pytest.fixture
def proxy(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bytes]]:
    """What a proxy of the environment hears; it refuses everything."""
    heard: list[bytes] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while line := self.rfile.readline(10_000).strip():
                heard.append(line)
            self.wfile.write(b"HTTP/1.0 403 Forbidden\r\n\r\n")

    with serving(Handler) as port:
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        yield heard


@pytest.mark.parametrize("key", ["secret-key", ""])
def test_no_proxy_hears_what_is_sent_unencrypted(key: str, proxy: list[bytes]):
    with chat_server(lambda call: call.send(200, completion("[]"))) as chat:
        (reply,) = speaker(chat.url, key=key).ask([QUERY])
    assert reply.text == "[]"
    assert proxy == []


def test_a_proxy_hears_the_address_alone_of_what_is_sent_encrypted(proxy: list[bytes]):
    with pytest.raises(ResourceError, match="ProxyError"):
        speaker("https://a.example/v1", key="secret-key", tries=1).ask([QUERY])
    assert proxy[0].startswith(b"CONNECT a.example:443 ")
    assert b"secret-key" not in b"".join(proxy)


def test_a_server_that_is_not_there():
    with chat_server(lambda call: None) as chat:
        url = chat.url
    with pytest.raises(ResourceError, match="did not answer in 3 tries"):
        speaker(url).ask([QUERY])


@pytest.mark.parametrize(
    ("status", "hint"), [(401, "--key-env"), (403, "may not use"), (404, "--url"), (413, "--picture"), (400, "log")]
)
def test_what_stays_is_told_at_once(status: int, hint: str):
    refusal = {"error": {"message": "no \x1b[31mway"}}
    with (
        chat_server(lambda call: call.send(status, refusal)) as chat,
        pytest.raises(ConfigError, match=f"refuses with status {status}: .*no") as caught,
    ):
        speaker(chat.url).ask([QUERY])
    assert hint in caught.value.hint
    assert len(chat.requests) == 1
    assert caught.value.message.isprintable()


def picky(call: Call) -> None:
    """Refuse what newer models refuse, one name at a time, in their words."""
    for name, instead in (
        ("max_tokens", "Use 'max_completion_tokens' instead."),
        ("temperature", "Only 1 is allowed."),
    ):
        if name in call.request:
            call.send(400, {"error": {"message": f"Unsupported parameter: '{name}'. {instead}", "param": name}})
            return
    call.send(200, completion("fine"))


def test_a_name_that_a_server_refuses_is_said_otherwise_from_then_on():
    with chat_server(picky) as chat:
        asked = speaker(chat.url, max_tokens=77)
        assert [r.text for r in asked.ask([QUERY, QUERY])] == ["fine", "fine"]
    assert [("max_tokens" in r, "temperature" in r) for r in chat.requests] == [
        (True, True), (False, True), (False, False), (False, False)
    ]  # fmt: skip
    assert chat.requests[-1]["max_completion_tokens"] == 77


def test_a_limit_that_is_too_high_under_either_name_is_told():
    with (
        chat_server(lambda call: call.send(400, {"error": "max_tokens or max_completion_tokens is too large"})) as chat,
        pytest.raises(ConfigError, match=r"refuses with status 400: .*too large"),
    ):
        speaker(chat.url, tries=9).ask([QUERY])
    assert len(chat.requests) == 2


def test_no_redirect_is_followed():
    with chat_server(lambda call: call.send(200, completion("elsewhere"))) as other:
        where = other.url + "/chat/completions"
        with (
            chat_server(lambda call: call.send(307, b"", Location=where)) as chat,
            pytest.raises(ConfigError, match="is a redirect, which is not followed"),
        ):
            speaker(chat.url, key="secret-key").ask([QUERY])
    assert other.requests == []


@pytest.mark.parametrize("status", [200, 400, 500])
def test_an_echoed_key_is_blotted_out(status: int, caplog: pytest.LogCaptureFixture):
    caplog.set_level(logging.DEBUG)
    answer = completion("your key is secret-key") if status == 200 else {"error": "Bearer secret-key"}
    with chat_server(lambda call: call.send(status, answer)) as chat:
        asked = speaker(chat.url, key="secret-key", tries=2)
        try:
            said = asked.ask([QUERY])[0].text
        except GeosemiError as error:
            said = error.message + error.hint
    assert "secret-key" not in said
    assert "secret-key" not in repr(asked) + json.dumps(dict(asked.identity)) + caplog.text
    if status == 200:
        assert said == "your key is [key]"


@pytest.mark.parametrize(
    ("url", "key", "kind", "cause"),
    [
        ("ftp://localhost/v1", "", ConfigError, "is no address"),
        ("localhost:8000", "", ConfigError, "is no address"),
        ("http://", "", ConfigError, "is no address"),
        ("http://[::1", "", ConfigError, "is no address"),
        ("https://a.example/v1?key=x", "", ConfigError, "is no address"),
        ("https://me:pass@a.example/v1", "", UnsafeInput, "holds a password"),
        ("http://a.example/v1", "k", UnsafeInput, "unencrypted"),
        ("http://192.168.1.9:8000/v1", "k", UnsafeInput, "unencrypted"),
    ],
)
def test_addresses_that_are_refused(url, key, kind, cause):
    with pytest.raises(kind, match=cause) as caught:
        speaker(url, key=key)
    assert caught.value.hint


@pytest.mark.parametrize(
    "url", ["http://localhost:1/v1", "http://127.0.0.1:1", "http://[::1]:1/v1", "https://a.example"]
)
def test_addresses_that_may_have_a_key(url):
    assert speaker(url, key="k").url == url


def test_no_more_calls_at_once_than_workers_and_all_of_them():
    barrier = threading.Barrier(3, timeout=10)

    def behave(call: Call) -> None:
        barrier.wait()
        call.send(200, completion("[]"))

    with chat_server(behave) as chat:
        asked = speaker(chat.url, workers=3)
        threads = [threading.Thread(target=asked.ask, args=([QUERY],)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert chat.at_once == 3


def test_money_is_reserved_before_it_is_spent():
    with chat_server(lambda call: call.send(200, completion("[]", usage=(100, 50)))) as chat:
        budget = Budget(money=0.01, price_in=10, price_out=20)
        asked = speaker(chat.url, budget=budget, max_tokens=200)
        with pytest.raises(ResourceError, match=r"could exceed `--budget 0\.01`") as caught:
            asked.ask([QUERY] * 100)
    assert "kept" in caught.value.hint
    assert budget.spent == pytest.approx(len(chat.requests) * (100 * 10 + 50 * 20) / 1e6)
    assert 0.004 < budget.spent <= 0.01
    assert len(chat.requests) >= 2


def test_money_of_requests_under_way_is_told():
    budget = Budget(money=1, price_in=1e6)
    budget.reserve(1, 0)
    with pytest.raises(ResourceError, match=r"0 is spent, and at most 1 by requests under way$"):
        budget.reserve(1, 0)
    budget.settle(1, 0, None)
    with pytest.raises(ResourceError, match=r"; 1 is spent$"):
        budget.reserve(1, 0)


def test_tries_that_fail_are_paid_for_as_well():
    with chat_server(lambda call: call.send(500, b"")) as chat:
        budget = Budget(requests=2)
        with pytest.raises(ResourceError, match="all 2 requests"):
            speaker(chat.url, budget=budget, tries=5).ask([QUERY])
    assert len(chat.requests) == 2


@pytest.mark.parametrize(
    ("model", "frame", "multiple"),
    [
        ("Qwen/Qwen2.5-VL-7B-Instruct", Frame.PICTURE, 28), ("qwen2.5vl:7b", Frame.PICTURE, 28),
        ("qwen2.5-vl-72b-instruct", Frame.PICTURE, 28), ("Qwen2-VL-2B", Frame.MILLE, 28),
        ("qwen3-vl:8b", Frame.MILLE, 32), ("Qwen/Qwen3-VL-30B-A3B-Instruct", Frame.MILLE, 32),
        ("gemini-2.5-flash", Frame.MILLE_YX, 1),
    ],
)  # fmt: skip
def test_frames_of_known_models(model, frame, multiple):
    assert frame_of(model, None) == (frame, multiple)
    assert frame_of(model, "unit") == (Frame.UNIT, multiple)


def test_an_unknown_model_needs_a_frame():
    with pytest.raises(ConfigError, match="not known what the boxes of `llava` mean") as caught:
        frame_of("llava", None)
    assert "--frame" in caught.value.hint
    assert frame_of("llava", "mille") == (Frame.MILLE, 1)
    for wrong in ("seen", "metres"):
        with pytest.raises(ConfigError, match="is not known"):
            frame_of("qwen3-vl", wrong)


def test_what_an_answer_is_filed_under():
    """Another address, worker count or key asks the same thing; another model, picture, question or length does not."""
    here = key_of(speaker("http://localhost:1"), QUERY, "meaning")
    same = [
        key_of(speaker("https://a.example", workers=9, key="k", tries=1), QUERY, "meaning"),
        key_of(speaker("http://localhost:1"), Query(QUERY.rgb.copy(), QUERY.question), "meaning"),
    ]
    other = [
        key_of(speaker("http://localhost:1", model="b"), QUERY, "meaning"),
        key_of(speaker("http://localhost:1", max_tokens=5), QUERY, "meaning"),
        key_of(speaker("http://localhost:1"), Query(QUERY.rgb, "Else?"), "meaning"),
        key_of(speaker("http://localhost:1"), Query(QUERY.rgb.reshape(84, 56, 3), QUERY.question), "meaning"),
        key_of(speaker("http://localhost:1"), Query(QUERY.rgb + 1, QUERY.question), "meaning"),
        key_of(speaker("http://localhost:1"), QUERY, "other meaning"),
    ]
    assert {here, *same} == {here}
    assert len({here, *other}) == 7
