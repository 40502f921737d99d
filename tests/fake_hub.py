"""As much of the Hugging Face Hub as models and data sets need to be made, uploaded and downloaded, on 127.0.0.1."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

USERS = {"writer": "write", "reader": "read"}
"""Token -> what it may do. Both are of the user "someone", who is in the organization "friends"."""


@dataclass
class Model:
    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    listed: dict[str, int] = field(default_factory=dict)
    """Files, by their size, that are listed and cannot be had."""

    @property
    def commit(self) -> str:
        return hashlib.sha1(repr(sorted(self.files.items())).encode()).hexdigest()


@dataclass
class FakeHub:
    url: str = ""
    models: dict[str, Model] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)


@contextmanager
def serve() -> Iterator[FakeHub]:
    hub = FakeHub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub

    def do_GET(self) -> None:
        self.answer()

    def do_HEAD(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path}")
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        for pattern, method in ROUTES.items():
            if found := re.fullmatch(pattern, path):
                if self.command == "POST" and USERS.get(token) != "write":
                    return self.fail(403 if token in USERS else 401)
                return getattr(self, method)(token, body, *found.groups())
        return self.fail(404, "EntryNotFound")

    def whoami(self, token: str, body: bytes) -> None:
        if token not in USERS:
            return self.fail(401)
        access = {"accessToken": {"displayName": "a token", "role": USERS[token]}}
        return self.send({"type": "user", "name": "someone", "orgs": [{"name": "friends"}], "auth": access})

    def create(self, token: str, body: bytes) -> None:
        wanted = json.loads(body)
        name = f"{wanted['organization']}/{wanted['name']}"
        if wanted["organization"] not in ("someone", "friends"):
            return self.fail(403)
        if name in self.hub.models:
            return self.send({"url": f"{self.hub.url}/{name}"}, status=409)
        private = wanted.get("visibility") == "private" or wanted.get("private", False)
        self.hub.models[name] = Model(private=private)
        return self.send({"url": f"{self.hub.url}/{name}"})

    def info(self, token: str, body: bytes, name: str) -> None:
        if model := self.find(name, token):
            sizes = {path: len(content) for path, content in model.files.items()} | model.listed
            files = [{"rfilename": path, "size": size} for path, size in sizes.items()]
            self.send({"id": name, "sha": model.commit, "private": model.private, "siblings": files})

    def tree(self, token: str, body: bytes, name: str) -> None:
        if model := self.find(name, token):
            self.send(
                [
                    {"type": "file", "path": path, "size": len(content), "oid": _blob_id(content)}
                    for path, content in model.files.items()
                ]
            )

    def modes(self, token: str, body: bytes, name: str) -> None:
        """Every file travels inside the commit; the real Hub keeps large ones elsewhere."""
        files = json.loads(body)["files"]
        self.send(
            {"files": [{"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in files]}
        )

    def commit(self, token: str, body: bytes, name: str) -> None:
        if model := self.find(name, token):
            for line in map(json.loads, body.splitlines()):
                value = line["value"]
                if line["key"] == "header":
                    model.messages.append(value["summary"])
                else:
                    assert (line["key"], value["encoding"]) == ("file", "base64")
                    model.files[value["path"]] = base64.b64decode(value["content"])
            url = f"{self.hub.url}/{name}/commit/{model.commit}"
            self.send({"commitUrl": url, "commitOid": model.commit})

    def card(self, token: str, body: bytes) -> None:
        broken = "broken: [" in json.loads(body)["content"]
        errors = [{"message": "the metadata is broken"}] if broken else []
        self.send({"errors": errors, "warnings": []}, status=400 if broken else 200)

    def file(self, token: str, body: bytes, name: str, path: str) -> None:
        if model := self.find(name, token):
            if path not in model.files:
                return self.fail(404, "EntryNotFound")
            content = model.files[path]
            headers = {"ETag": f'"{_blob_id(content)}"', "X-Repo-Commit": model.commit}
            return self.send(content, headers=headers)
        return None

    def find(self, name: str, token: str) -> Model | None:
        """The model, if there is one that this token may see; else the answer is sent."""
        model = self.hub.models.get(name)
        if model is None or (model.private and token not in USERS):
            self.fail(404 if token in USERS else 401, "RepoNotFound")
            return None
        return model

    def fail(self, status: int, code: str = "") -> None:
        self.send({"error": "refused"}, status=status, headers={"X-Error-Code": code} if code else {})

    def send(self, value: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> None:
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for key, text in {**(headers or {}), "Content-Length": str(len(content))}.items():
            self.send_header(key, text)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *arguments: Any) -> None:
        pass


ROUTES = {
    r"/api/whoami-v2": "whoami",
    r"/api/repos/create": "create",
    r"/api/validate-yaml": "card",
    r"/api/(?:models|datasets)/([^/]+/[^/]+)(?:/revision/.+)?": "info",
    r"/api/(?:models|datasets)/([^/]+/[^/]+)/tree/.+": "tree",
    r"/api/models/([^/]+/[^/]+)/preupload/main": "modes",
    r"/api/models/([^/]+/[^/]+)/commit/main": "commit",
    r"(?:/datasets)?/([^/]+/[^/]+)/resolve/[^/]+/(.+)": "file",
}


def _blob_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
