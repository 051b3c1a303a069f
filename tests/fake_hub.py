"""`FakeHub`: what of the Hugging Face Hub a download needs, served on the loopback from a directory.

The real client runs against it, so its cache layout, its errors and its fallbacks are the real ones.
Routes: revision and tree of a repository, HEAD and GET of a file. Not here: large files of the real Hub.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote, urlparse

import pytest

COMMIT = "c5ebcd40d208330abc697524c919956e692655cf"


@dataclass
class FakeHub:
    """directory: the one repository's files. refusal: status and X-Error-Code of every answer, None to
    serve. cut: a file whose transfer stops half way. fetched: files that were asked for, in order.
    """

    repository: str
    directory: Path
    refusal: tuple[int, str] | None = None
    cut: str | None = None
    fetched: list[str] = field(default_factory=list)
    url: str = ""

    def api(self, path: str) -> object | None:
        """The JSON of an API route, None for one that is not served."""
        route = path.removeprefix(f"/api/models/{self.repository}")
        if route == "/revision/main":
            return {"id": self.repository, "sha": COMMIT, "siblings": []}
        if route == f"/tree/{COMMIT}":
            return [
                {
                    "type": "file",
                    "path": str(path.relative_to(self.directory)),
                    "size": path.stat().st_size,
                    "oid": etag(path),
                }
                for path in sorted(self.directory.rglob("*"))
                if path.is_file()
            ]
        return None

    def file(self, path: str) -> Path | None:
        prefix = f"/{self.repository}/resolve/{COMMIT}/"
        found = self.directory / path.removeprefix(prefix)
        return found if path.startswith(prefix) and found.is_file() else None


def etag(path: Path) -> str:
    return hashlib.sha1(path.read_bytes()).hexdigest()


@contextmanager
def serving(hub: FakeHub) -> Iterator[FakeHub]:
    """Serve on a free port of the loopback until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(with_body=False)

        def do_GET(self) -> None:
            self._answer(with_body=True)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

        def _answer(self, with_body: bool) -> None:
            path = unquote(urlparse(self.path).path)
            if hub.refusal is not None:
                status, code = hub.refusal
                return self._send(status, b"{}", with_body, {"X-Error-Code": code})
            if (found := hub.api(path)) is not None:
                return self._send(200, json.dumps(found).encode(), with_body, {})
            if path.startswith("/api/"):
                code = "RevisionNotFound" if "/revision/" in path else "RepoNotFound"
                return self._send(404, b"{}", with_body, {"X-Error-Code": code})
            if (file := hub.file(path)) is None:
                return self._send(404, b"", with_body, {"X-Error-Code": "EntryNotFound"})
            if with_body:
                hub.fetched.append(str(file.relative_to(hub.directory)))
            headers = {"ETag": f'"{etag(file)}"', "X-Repo-Commit": COMMIT}
            return self._send(200, file.read_bytes(), with_body, headers, cut=file.name == hub.cut)

        def _send(
            self, status: int, body: bytes, with_body: bool, headers: dict[str, str], cut: bool = False
        ) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if with_body:
                self.wfile.write(body[: len(body) // 2] if cut else body)
            if cut:
                self.close_connection = True

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def use_endpoint(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the client ask there. It reads HF_ENDPOINT once, on import."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", url)
    template = url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
