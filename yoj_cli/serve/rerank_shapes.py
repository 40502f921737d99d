"""What clients of rerankers send, and what a judge is asked by it: the query is the prompt, documents are responses.

Cohere sends texts, Jina also `{"text"}` and `{"image"}` (an address or base64), vLLM also `{"content": [blocks]}`, as
the query, as a document, or around all documents, each block then being one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from yoj_cli.errors import InputError
from yoj_cli.records.turns import IMAGE_KEYS, VIDEO_KEYS, parse_content
from yoj_cli.serve.shapes import Items

EXAMPLE: dict[str, JsonValue] = {
    "query": "What is the capital of France?",
    "documents": ["Paris.", "Lyon, since 1789.", "France is a country."],
    "top_n": 2,
}
MEDIA_KEYS = (*IMAGE_KEYS, *VIDEO_KEYS, "image_url", "video_url")
MIN_BASE64 = 64
"""Characters of the smallest picture there is, in base64; a path that is as long has a dot."""

HINT_PICTURE = (
    "Documents are scored as responses, which are texts. Let the query show the picture and rank what is said of it, "
    "or send captions instead of pictures."
)


class Content(BaseModel):
    """Blocks, as in a chat's turn."""

    model_config = ConfigDict(extra="allow")

    content: Items[dict[str, Any]] = Field(min_length=1)


class Text(BaseModel):
    """A text as Cohere's and Jina's clients may wrap it; of a document, other fields than media are passed over."""

    model_config = ConfigDict(extra="allow")

    text: str


class Picture(BaseModel):
    """A picture as Jina's clients send it, perhaps with a text."""

    model_config = ConfigDict(extra="allow")

    image: str = Field(min_length=1)
    text: str | None = None


Document: TypeAlias = str | Content | Picture | Text


class RerankRequest(BaseModel):
    """What to rank and against what. Other fields of other servers are passed over."""

    model_config = ConfigDict(extra="ignore", json_schema_extra={"examples": [EXAMPLE]})

    model: str | None = Field(None, description="Another judge than the one that is loaded is refused.")
    query: Document = Field(
        description='A text; with pictures {"content": [blocks]}, where one is {"type": "image_url", "image_url": '
        '{"url": "data:image/png;base64,…"}}, or {"image": …, "text": …}.'
    )
    documents: Annotated[Items[Document], Field(min_length=1)] | Content | str = Field(
        description='Texts, each also as {"text": …} or {"content": [blocks of text]}; or {"content": [blocks of '
        "text]} around all, where each block is a document. Pictures belong into the query."
    )
    top_n: int | None = Field(None, ge=0, description="How many to return, best first; 0 or none for all.")
    return_documents: bool = False

    def to_record(self) -> dict[str, Any]:
        """The request as a record of the input format.

        Raises:
            InputError: a document is no text, or the query shows what is not read.
        """
        return {**_ask(self.query), "responses": self._texts()}

    def returned(self, index: int) -> dict[str, Any]:
        """A document as it is returned: as it came, a bare text or block as a text in an object."""
        if isinstance(self.documents, list):
            document = self.documents[index]
            if not isinstance(document, str):
                return document.model_dump()
        return {"text": self._texts()[index]}

    def _texts(self) -> list[str]:
        found = self.documents
        if isinstance(found, str):
            return [found]
        if isinstance(found, Content):
            _refuse_media(found, "documents", HINT_PICTURE)
            return [_text_of_block(each, f"documents.content[{n}]") for n, each in enumerate(found.content)]
        return [_text_of(each, f"documents[{n}]") for n, each in enumerate(found)]


def _ask(query: Document) -> dict[str, Any]:
    """What the user says, as fields of a record."""
    if isinstance(query, str):
        return {"prompt": query}
    _refuse_media(query, "query", 'Write {"image": …, "text": …}, or {"content": [blocks]}.')
    if isinstance(query, Content):
        # Read here once already, so that what is wrong is said by the request's own names.
        parse_content(query.content, "query.content")
        return {"prompt": [{"role": "user", "content": query.content}]}
    if isinstance(query, Text):
        return {"prompt": query.text}
    return {"prompt": query.text, "image": _as_url(query.image)}


def _as_url(image: str) -> str:
    is_bare = len(image) >= MIN_BASE64 and ":" not in image[:MIN_BASE64] and "." not in image
    return f"data:;base64,{image}" if is_bare else image


def _text_of(document: Document, name: str) -> str:
    """The response that a document is."""
    if isinstance(document, str):
        return document
    if isinstance(document, Picture):
        raise InputError(f"{name} is a picture, which cannot be ranked", hint=HINT_PICTURE)
    _refuse_media(document, name, HINT_PICTURE)
    if isinstance(document, Text):
        return document.text
    return " ".join(_text_of_block(each, f"{name}.content[{n}]") for n, each in enumerate(document.content))


def _text_of_block(block: Mapping[str, Any], name: str) -> str:
    kind, text = block.get("type", "text"), block.get("text")
    if isinstance(kind, str) and kind.startswith(("image", "video")):
        shown = "a picture" if kind.startswith("image") else "a clip"
        raise InputError(f"{name} is {shown}, which cannot be ranked", hint=HINT_PICTURE)
    if kind != "text" or not isinstance(text, str):
        raise InputError(f"{name} is no text block", hint='One is {"type": "text", "text": …}.')
    return text


def _refuse_media(asked: BaseModel, name: str, hint: str) -> None:
    """See that nothing is shown where it would be passed over in silence."""
    for key in MEDIA_KEYS:
        if (asked.model_extra or {}).get(key) is not None:
            raise InputError(f"{name} has {key!r}, which is not read there", hint=hint)
