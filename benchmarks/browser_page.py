"""A page of one's own in headless Chromium, and what it posts."""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Mapping
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from runtimes.onnx.transformers_js import BROWSERS

END = "end"  # what a page posts nothing to when it is through


def posted_by_page(directory: Path, seconds: float) -> Mapping[str, bytes]:
    """What `index.html` of a directory posts to /NAME, by name, until it posts to /end.

    Files beside the page are served; the browser's own are put there too. Raises RuntimeError where it does
    not get through in that time.
    """
    found: dict[str, bytes] = {}
    done = threading.Event()

    class Answers(SimpleHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            name = self.path.rpartition("/")[2]
            if name != END:
                found[name] = body
            self.send_response(200)
            self.end_headers()
            if name == END:
                done.set()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: what is printed is the benchmark's."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Answers, directory=str(directory)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    browser = next(path for name in BROWSERS if (path := shutil.which(name)))
    flags = (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        f"--user-data-dir={directory}/own",
    )
    address = f"http://127.0.0.1:{server.server_port}/index.html"
    running = subprocess.Popen(
        [browser, *flags, address], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        if not done.wait(seconds):
            raise RuntimeError(f"{browser} posted {sorted(found)} alone in {seconds:g} s")
    finally:
        running.terminate()
        running.wait()
        server.shutdown()
        server.server_close()
    return found
