"""The messages of stream-al, version 1: the only thing that other programs need.

JSON Schema files generated from these models stand in ``schemas/json``.
"""

from stream_al_schemas.base import MAX_EVENT_BYTES, Message, Source
from stream_al_schemas.control import Control
from stream_al_schemas.dead_letter import MAX_KEPT_BYTES, DeadLetter, Failure
from stream_al_schemas.event import Event
from stream_al_schemas.label_reply import LabelReply
from stream_al_schemas.label_request import LabelRequest
from stream_al_schemas.prediction import Prediction
from stream_al_schemas.sample import EncodedMessage, Sample

MESSAGES: tuple[type[Message], ...] = (
    Event,
    Prediction,
    LabelRequest,
    LabelReply,
    Sample,
    Control,
    DeadLetter,
)
"""Every message that travels on a topic."""

__all__ = [
    "MAX_EVENT_BYTES",
    "MAX_KEPT_BYTES",
    "MESSAGES",
    "Control",
    "DeadLetter",
    "EncodedMessage",
    "Event",
    "Failure",
    "LabelReply",
    "LabelRequest",
    "Message",
    "Prediction",
    "Sample",
    "Source",
]
