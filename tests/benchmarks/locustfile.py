"""Locust users of a running `yoj serve`: good ones, and one hostile in ten.

    pip install locust
    yoj serve -m demo &
    locust -f tests/benchmarks/locustfile.py --headless -u 64 -r 32 -t 60s -H http://127.0.0.1:8321
    python tests/benchmarks/locustfile.py  # one user, to see what it sends

A hostile request counts as failed where it is answered by anything but the 4xx that it deserves.
"""

from __future__ import annotations

import base64
import os
import random
from pathlib import Path
from typing import Any

from locust import HttpUser, between, run_single_user, task

PICTURES = sorted((Path(__file__).parents[2] / "examples" / "pictures").glob("*.png"))
WORDS = ("red", "blue", "circle", "square", "left", "right", "above", "below")
HOSTILE: tuple[tuple[bytes, dict[str, str], int], ...] = (
    (b'{"prompt": "a", ', {}, 400),
    (b'{"prompt": "a", "responses": []}', {}, 422),
    (b'{"image": "/etc/passwd", "responses": ["a"]}', {}, 422),
    (b'{"prompt": "' + b"a" * 10_000_000 + b'", "responses": ["a"]}', {}, 413),
    (b"\x1f\x8b" + bytes(1000), {"Content-Encoding": "gzip"}, 415),
)


def group() -> dict[str, Any]:
    return {
        "prompt": f"What is {random.choice(WORDS)}?",
        "responses": [" ".join(random.choices(WORDS, k=6)) for _ in range(4)],
    }


class User(HttpUser):
    """Sends one group after another."""

    wait_time = between(0, 0.1)
    host = "http://127.0.0.1:8321"

    def on_start(self) -> None:
        self.client.headers["Content-Type"] = "application/json"
        if key := os.environ.get("YOJ_API_KEY"):
            self.client.headers["Authorization"] = f"Bearer {key}"

    @task(60)
    def text(self) -> None:
        self.client.post("/v1/groups", json=group(), name="text")

    @task(30)
    def picture(self) -> None:
        url = "data:image/png;base64," + base64.b64encode(random.choice(PICTURES).read_bytes()).decode()
        self.client.post("/v1/groups", json={**group(), "image": url}, name="picture")

    @task(10)
    def hostile(self) -> None:
        body, headers, status = random.choice(HOSTILE)
        with self.client.post(
            "/v1/groups", data=body, headers=headers, name=f"hostile {status}", catch_response=True
        ) as answer:
            if answer.status_code == status:
                answer.success()
            else:
                answer.failure(f"{answer.status_code} {answer.text[:200]}")


if __name__ == "__main__":
    run_single_user(User)
