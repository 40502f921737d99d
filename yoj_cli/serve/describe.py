"""What OpenAPI says of the endpoints: schemas and examples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from yoj_cli.serve.problems import MEDIA_TYPE

RECORD_EXAMPLE = {"prompt": "What is 2 + 2?", "responses": ["4", "5", "Four."]}
VERDICT_EXAMPLE = {
    **RECORD_EXAMPLE,
    "scores": [0.61, -1.32, 0.22],
    "ranks": [1, 3, 2],
    "p_best": [0.548, 0.08, 0.372],
    "best": 0,
    "judge": {"model": "demo", "mode": "multi", "orders": 1},
}
PICTURE = (
    "iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAFUlEQVR42mM8ISfHgA0wMeAAg1MCANDKARQfGKMRAAAAAElFTkSuQmCC"
)
PICTURE_EXAMPLE = {
    "prompt": "Which colour is this?",
    "image": f"data:image/png;base64,{PICTURE}",
    "responses": ["Red.", "Blue."],
}
LINES_EXAMPLE = (
    '{"prompt": "2 + 2?", "responses": ["4", "5"]}\n{"prompt": "3 + 3?", "responses": ["6", "7"]}\n'
)

RECORD: dict[str, Any] = {
    "type": "object",
    "description": "A group: an input line of `yoj score`. Other fields are passed through. Media are data: URLs, or "
    "paths below the server's --media-root.",
    "examples": [RECORD_EXAMPLE, PICTURE_EXAMPLE],
}
NO_RECORD = {"description": "What is no group is answered by an error in its place."}
VERDICT: dict[str, Any] = {
    "type": "object",
    "description": "The record, and what the judge says: an output line of `yoj score`.",
    "required": ["scores", "ranks", "p_best", "best", "judge"],
    "properties": {
        "scores": {"type": "array", "items": {"type": "number"}, "description": "Higher is better."},
        "ranks": {"type": "array", "items": {"type": "integer", "minimum": 1}, "description": "1 = best."},
        "p_best": {"type": "array", "items": {"type": "number", "minimum": 0, "maximum": 1}},
        "spread": {
            "type": "array",
            "items": {"type": "number"},
            "description": "How far each score moved between orders or windows, where there were several.",
        },
        "order_agreement": {
            "type": "number",
            "description": "Share of the orders whose best response is the best here, where there were several.",
        },
        "best": {"type": "integer", "minimum": 0},
        "judge": {"type": "object"},
    },
    "examples": [VERDICT_EXAMPLE],
}
PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "RFC 9457.",
    "required": ["type", "title", "status", "detail", "hint", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "hint": {"type": "string"},
        "request_id": {"type": "string"},
        "error": {
            "type": "object",
            "properties": {"type": {"type": "string"}, "message": {"type": "string"}},
        },
    },
}

GROUPS_BODY: dict[str, Any] = {
    "required": True,
    "content": {
        "application/json": {
            "schema": {
                "oneOf": [
                    RECORD,
                    {"type": "array", "description": "Groups.", "items": {"anyOf": [RECORD, NO_RECORD]}},
                ],
            },
            "examples": {
                "one": {"summary": "A group", "value": RECORD_EXAMPLE},
                "picture": {"summary": "A group with a picture", "value": PICTURE_EXAMPLE},
                "several": {"summary": "Several groups", "value": [RECORD_EXAMPLE, PICTURE_EXAMPLE]},
            },
        },
        "application/x-ndjson": {
            "schema": {"type": "string", "description": "A record a line."},
            "examples": {"lines": {"summary": "Two groups", "value": LINES_EXAMPLE}},
        },
    },
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Responses of an endpoint that are problems, by status."""
    words = {
        400: "No JSON, or not as this server is asked",
        401: "No key, or a wrong one",
        404: "No such endpoint",
        405: "Another method",
        408: "The body came too slowly",
        409: "Another judge is loaded",
        413: "Too large, or too long for the judge",
        414: "Too long an address",
        415: "No type that is read",
        421: "A Host that the server is not called by",
        422: "A group or an option that cannot be used",
        429: "Too much is waiting",
        431: "Too long headers",
        500: "A bug",
        503: "No judge is ready",
        504: "Not scored in time",
    }
    return {
        status: {"description": words[status], "content": {MEDIA_TYPE: {"schema": PROBLEM}}}
        for status in statuses
    }


EVERYWHERE = (401, 414, 421, 431, 500)
NOT_READY_RESPONSES = problems(503)
MODELS_RESPONSES = problems(*EVERYWHERE, 503)
GROUPS_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A verdict for each group",
        "content": {
            "application/json": {"schema": VERDICT},
            "application/x-ndjson": {
                "schema": {"type": "string", "description": "A verdict or error a line."}
            },
        },
    },
    **problems(*EVERYWHERE, 400, 408, 409, 413, 415, 422, 429, 503, 504),
}

RERANK_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Documents, best first",
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["id", "model", "usage", "results"],
                    "properties": {
                        "id": {"type": "string"},
                        "model": {"type": "string"},
                        "usage": {"type": "object"},
                        "results": {
                            "type": "array",
                            "items": {
                                "type": "object",
                                "required": ["index", "relevance_score", "score"],
                                "properties": {
                                    "index": {"type": "integer", "minimum": 0},
                                    "relevance_score": {"type": "number", "description": "P(best)."},
                                    "score": {"type": "number", "description": "The judge's."},
                                    "document": {"type": "object"},
                                },
                            },
                        },
                    },
                }
            }
        },
    },
    **problems(*EVERYWHERE, 400, 408, 409, 413, 415, 422, 429, 503, 504),
}
TRAINER_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Rewards; the header Yoj-Cohort says how many responses were scored together, of how many",
        "headers": {"Yoj-Cohort": {"schema": {"type": "string", "examples": ["3/4"]}}},
        "content": {"application/json": {}},
    },
    **problems(*EVERYWHERE, 400, 408, 409, 413, 415, 422, 429, 503, 504),
}


def body_of(shape: type[BaseModel]) -> dict[str, Any]:
    """A body that is JSON of this shape."""
    schema = shape.model_json_schema()
    return {
        "required": True,
        "content": {"application/json": {"schema": _inlined(schema, schema.pop("$defs", {}))}},
    }


def _inlined(schema: Any, shapes: Mapping[str, Any]) -> Any:
    """A schema without references, which would be looked for in the whole document."""
    if isinstance(schema, list):
        return [_inlined(each, shapes) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return _inlined(shapes[schema["$ref"].rpartition("/")[2]], shapes)
    return {name: _inlined(value, shapes) for name, value in schema.items()}
