"""The page at `/`: type a group in and see it ranked. Three static files, and no other host is asked for anything."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse

from yoj_cli.report.page import FOLDER as REPORT_PAGE
from yoj_cli.serve.service import Service

FOLDER = Path(__file__).with_name("page")
COLOURS = REPORT_PAGE / "style" / "colours.css"
"""The report's, so that both pages look alike."""

POLICY = "; ".join(
    (
        *("default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'"),
        *(
            "img-src data:",
            "media-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ),
    )
)
"""What the page may load and run: its own files, and the pictures and clips that it was given."""

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def page_router(_: Service) -> APIRouter:
    """`GET /` and its files. They hold nothing secret, so that a browser needs no API key to ask for one."""
    router = APIRouter(include_in_schema=False)
    files = {"/": FOLDER / "index.html", "/page/colours.css": COLOURS}
    files |= {f"/page/{name}": FOLDER / name for name in ("page.css", "page.js")}
    for path, file in files.items():
        router.get(path)(_sender(file))
    return router


def _sender(file: Path) -> Callable[[], Awaitable[FileResponse]]:
    async def send() -> FileResponse:
        return FileResponse(file, headers=HEADERS)

    return send
