"""Run as a program: analyses a photo as on a ZeroGPU Space, beside a stand-in for its scheduler.

What it cannot lend is a GPU. So first the forked process looks for one and fails; then it is
content with the CPU.
"""

from __future__ import annotations

import json
import os
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlparse

CALLS: list[tuple[str, str]] = []


class Scheduler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        url = urlparse(self.path)
        CALLS.append((url.path, parse_qs(url.query).get("durationSeconds", ["-"])[0]))
        found = {"idle": True, "nvidiaIndex": 0, "nvidiaUUID": "GPU-0", "allowToken": "token"}
        body = json.dumps(found if url.path == "/schedule" else {}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


server = HTTPServer(("127.0.0.1", 0), Scheduler)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.environ |= {
    "SPACES_ZERO_GPU": "true",
    "SPACES_ZERO_DEVICE_API_URL": f"http://127.0.0.1:{server.server_port}",
    "OMP_NUM_THREADS": "1",
}

from functools import partial  # noqa: E402

import torch  # noqa: E402
from gradio.media import get_image  # noqa: E402
from spaces.zero import torch as zero  # noqa: E402

from ui import compute, devices  # noqa: E402
from ui.networks import Untrained  # noqa: E402


def where(model: torch.nn.Module, image: torch.Tensor, parent: int) -> tuple[bool, float]:
    """Whether another process ran it, and the sum of its logits."""
    return os.getpid() != parent, float(model(image).sum())


source = Untrained("resnet18")
photo = compute.Photo.open(get_image("lion.jpg"))
image = compute.prepared(photo, source, 96).tensor
failing = compute.explain(photo, source, 96, None).device
promised, devices.DEVICE = devices.DEVICE, torch.device("cpu")
zero.init = zero.move = lambda *_, **__: None
elsewhere, lent = devices._on_gpu(source, image, partial(where, parent=os.getpid()), 7)
here = where(devices.load(source).model, image, 0)[1]
weights = devices.load(source).model.parameters()
print(
    json.dumps(
        {
            "promised": promised.type,
            "failing": failing,
            "elsewhere": elsewhere,
            "lent": lent,
            "here": here,
            "calls": CALLS,
            "weights": sorted({weight.device.type for weight in weights}),
        }
    )
)
