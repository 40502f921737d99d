"""Whatever a client sends, the server does what its own description says: nothing undescribed, and no 5xx."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from tests.serving import Served, serving
from yoj_cli import Judge

pytestmark = pytest.mark.slow

ENDPOINTS = [
    *(("POST", path) for path in ("/v1/groups", "/v1/rerank", "/get_reward", "/rm")),
    *(("GET", path) for path in ("/v1/models", "/health", "/ready", "/metrics")),
]


@pytest.fixture(scope="module")
def served(judges: Callable[..., Judge]) -> Iterator[Served]:
    judge = judges("demo")
    with serving(lambda: [judge], cohort=1, limits={"max_responses": 8}) as found:
        yield found


@pytest.fixture(scope="module")
def described(served: Served) -> Any:
    return schemathesis.openapi.from_url(f"{served.url}/openapi.json")


def test_these_are_all(described: Any) -> None:
    found = [each.ok() for each in described.get_all_operations()]
    assert {(each.method.upper(), each.path) for each in found} == set(ENDPOINTS)


@pytest.mark.parametrize("mode", list(GenerationMode))
@pytest.mark.parametrize(("method", "path"), ENDPOINTS)
def test_an_endpoint_is_as_it_is_described(
    described: Any, method: str, path: str, mode: GenerationMode
) -> None:
    """A record may be well-formed and still be no group, which no schema can say: it is refused, and that is right."""
    operation = described[path][method]

    @given(case=operation.as_strategy(generation_mode=mode))
    @settings(
        max_examples=25,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    def check(case: Any) -> None:
        case.call_and_validate(excluded_checks=[positive_data_acceptance])

    if mode is GenerationMode.POSITIVE or method == "POST":
        check()
