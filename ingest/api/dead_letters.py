"""Dead letters: the newest ones, and sending one again."""

from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from domain.errors import Unavailable
from ingest import replay
from ingest.api.letters import LETTERS_KEPT
from ingest.api.parts import PartsOf, within
from ingest.api.problems import documented, not_found
from ingest.api.publisher import PUBLISH_SECONDS
from ingest.replay import DeadLetter

SHOWN: Final = 2_000

router = APIRouter(tags=["dead letters"])


class DeadLetterView(BaseModel):
    """A record that could not become a command; `id` is topic-partition-offset of its first
    place, `command_id` the id under which `/commands/{command_id}` knows it."""

    id: Annotated[str, Field(examples=["orders.commands-0-17"])]
    command_id: str
    written: Annotated[str, Field(description="when the record was first written")]
    attempts: int
    error_class: str
    error: str
    key: Annotated[str | None, Field(description=f"at most {SHOWN} characters")]
    value: Annotated[str | None, Field(description=f"at most {SHOWN} characters")]


class DeadLetterPage(BaseModel):
    """Dead letters, oldest first."""

    dead_letters: list[DeadLetterView]


class LettersQuery(BaseModel):
    """How many."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=LETTERS_KEPT, description="letters at most")] = 100


class Replayed(BaseModel):
    """The dead letter is on the topic of commands again."""

    id: str
    command_id: str


@router.get(
    "/dead-letters",
    summary="The newest dead letters",
    response_description="The newest, oldest first",
    responses=documented(HTTPStatus.UNPROCESSABLE_ENTITY),
)
async def get_dead_letters(
    parts: PartsOf, query: Annotated[LettersQuery, Query()]
) -> DeadLetterPage:
    """Records that can never become a command, with the reason; the last ones, oldest first."""
    letters = parts.letters.newest(query.limit)
    return DeadLetterPage(dead_letters=[_view(letter) for letter in letters])


@router.post(
    "/dead-letters/{letter_id}/replay",
    status_code=HTTPStatus.ACCEPTED,
    summary="Send a dead letter again",
    response_description="On the topic of commands",
    responses=documented(
        HTTPStatus.NOT_FOUND, HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.SERVICE_UNAVAILABLE
    ),
)
async def replay_dead_letter(
    parts: PartsOf,
    letter_id: Annotated[
        str,
        Path(max_length=200, pattern=r"^[A-Za-z0-9._-]+$", description="Its `id` in the list"),
    ],
) -> Replayed:
    """Put it on the topic of commands again, with its first id: safe to repeat."""
    letter = next((x for x in parts.letters.newest(LETTERS_KEPT) if x.id == letter_id), None)
    if letter is None:
        raise not_found(f"there is no dead letter {letter_id}; see /dead-letters")
    try:
        await within(PUBLISH_SECONDS, replay.send_again(parts.settings, [letter], lambda _: None))
    except TimeoutError:
        raise Unavailable(
            f"Kafka did not answer within {PUBLISH_SECONDS:.0f} s; it may be sent again safely"
        ) from None
    return Replayed(id=letter.id, command_id=letter.command_id)


def _view(letter: DeadLetter) -> DeadLetterView:
    return DeadLetterView(**letter.document(SHOWN))
