"""A partition's own requests among whatever stands in its topic, by their numbers."""

from __future__ import annotations

from collections.abc import Iterable

import orjson

from stream_al.encode import EncodedInput, from_message
from stream_al.errors import InvalidTicket
from stream_al.log.protocol import Record
from stream_al.ticket import BACKLOG, TicketOffice


def numbered_requests(
    records: Iterable[Record], partition: int, office: TicketOffice
) -> tuple[dict[int, EncodedInput], int]:
    """Return the inputs of a partition's requests by number, the first being 1, and how many cannot be told.

    The topic is open to every writer: what is no request is passed over, and so are requests of the
    backlog, of other partitions, and those published again. A ticket under a retired key says nothing that
    may be trusted; it is counted, and stops no service.
    """
    numbered: dict[int, EncodedInput] = {}
    unknown = 0
    for record in records:
        try:
            ticket = office.verify(orjson.loads(record.value)["ticket"])
        except InvalidTicket as error:
            unknown += error.reason == "foreign"
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        else:
            if ticket.partition == partition and ticket.channel != BACKLOG:
                numbered[ticket.totals.asked] = from_message(ticket.input)
    return numbered, unknown
