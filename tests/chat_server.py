"""A server on loopback that speaks OpenAI's chat completions, and a painted scene with a model that really sees it."""

import base64
import io
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import rasterio
from ground import NORTH_UP, UTM
from PIL import Image
from scipy import ndimage

from geosemi.legend import ClassDef, Legend

LEGEND = Legend(
    (ClassDef(0, "road", "#ff0000", ("street",)), ClassDef(1, "tree", "#00ff00"), ClassDef(2, "lake", "#0000ff"))
)
HEIGHT, WIDTH = 620, 760
NODATA = 504  # where asked for, all columns from here on; a column of tiles begins there
# class, top, left, height, width; several lie across the borders of tiles of 256 that overlap by 64
OBJECTS = (
    (0, 20, 30, 40, 60), (1, 100, 230, 50, 40), (1, 100, 290, 50, 40), (2, 200, 180, 90, 150), (0, 300, 10, 20, 700),
    (1, 360, 500, 120, 30), (2, 500, 600, 100, 150), (0, 420, 60, 150, 24), (1, 560, 200, 40, 40),
)  # fmt: skip


def painted(path: Path, *, dtype: str = "uint8", nodata: bool = False) -> np.ndarray:
    """Write a scene of bright rectangles on dark noise; return what is where, (K, h, w) bool."""
    truth = np.zeros((3, HEIGHT, WIDTH), bool)
    for k, top, left, height, width in OBJECTS:
        truth[k, top : top + height, left : left + width] = True
    white = 255 if dtype == "uint8" else 4000
    dark = np.random.default_rng(0).integers(1, white // 8, truth.shape, dtype=dtype)
    image = np.where(truth, np.array(white, dtype), dark)
    if nodata:
        image[:, :, NODATA:] = 0
        truth[:, :, NODATA:] = False
    profile = {"driver": "GTiff", "count": 3, "dtype": dtype, "nodata": 0 if nodata else None}
    with rasterio.open(path, "w", height=HEIGHT, width=WIDTH, crs=UTM, transform=NORTH_UP, **profile) as d:
        d.write(image)
    return truth


def boxes_in(rgb: np.ndarray) -> list[tuple[str, list[int]]]:
    """Look at a picture (h, w, 3): each connected bright patch as its class and box in pixels."""
    found = []
    for k, name in enumerate(LEGEND.names):
        for rows, cols in ndimage.find_objects(ndimage.label(rgb[..., k] > 127)[0]):
            found.append((name, [cols.start, rows.start, cols.stop, rows.stop]))
    return found


def written(rgb: np.ndarray, *, mille: bool = False, form: str = "json") -> str:
    """Answer as a model would that sees perfectly."""
    height, width = rgb.shape[:2]
    boxes = boxes_in(rgb)
    if mille:
        scale = [1000 / width, 1000 / height] * 2
        boxes = [(name, [round(v * s) for v, s in zip(box, scale, strict=True)]) for name, box in boxes]
    if form == "lines":
        return "\n".join(f"- **{name}**: {box}" for name, box in boxes)
    text = json.dumps([{"bbox_2d": box, "label": name} for name, box in boxes])
    return f"```json\n{text}\n```" if form == "fenced" else text


def picture_of(request: dict) -> np.ndarray:
    """Decode the picture of a request, as a server must: PNG in a data URL, before the question."""
    (message,) = request["messages"]
    picture, question = message["content"]
    assert question["type"] == "text"
    head, data = picture["image_url"]["url"].split(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


def completion(text: str, *, finish: str = "stop", usage: tuple[int, int] | None = (1000, 100)) -> dict:
    value = {"choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": finish}]}
    if usage:
        value["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1]}
    return value


class Call:
    """A request that a behaviour answers, by one of its methods."""

    def __init__(self, handler: BaseHTTPRequestHandler, number: int, request: dict) -> None:
        self.handler, self.number, self.request = handler, number, request

    def send(self, status: int, body: bytes | dict, **headers: str) -> None:
        content = json.dumps(body).encode() if isinstance(body, dict) else body
        self.handler.send_response(status)
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        for name, value in {"Content-Length": str(len(content)), **given}.items():
            self.handler.send_header(name, value)
        self.handler.end_headers()
        self.handler.wfile.write(content)

    def see(self, **form: object) -> None:
        self.send(200, completion(written(picture_of(self.request), **form)))

    def drip(self, seconds: float) -> None:
        """Send a byte now and then, and never an end."""
        self.handler.send_response(200)
        self.handler.end_headers()
        self._drip(seconds)

    def drip_head(self, seconds: float) -> None:
        """Send a byte of the answer's head now and then, and never an end of it."""
        self.handler.wfile.write(b"HTTP/1.0 200 OK\r\nX-Slow: ")
        self._drip(seconds)

    def _drip(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.handler.wfile.write(b" ")
            self.handler.wfile.flush()
            time.sleep(0.02)


class Chat:
    """What a server heard."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.requests: list[dict] = []
        self.headers: list[dict[str, str]] = []
        self.at_once = 0


@contextmanager
def chat_server(behave: Callable[[Call], None]) -> Iterator[Chat]:
    """Serve on a free port of this machine; `behave` answers each request."""
    lock, now = threading.Lock(), [0]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with lock:
                chat.requests.append({"path": self.path, **request})
                chat.headers.append(dict(self.headers))
                number = len(chat.requests)
                now[0] += 1
                chat.at_once = max(chat.at_once, now[0])
            try:
                behave(Call(self, number, request))
            except (BrokenPipeError, ConnectionResetError):
                pass
            finally:
                with lock:
                    now[0] -= 1

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    chat = Chat(f"http://127.0.0.1:{server.server_port}/v1")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield chat
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
