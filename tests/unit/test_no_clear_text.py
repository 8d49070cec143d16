"""What people wrote stands in the request for people's eyes, never in a ticket or a sample."""

from __future__ import annotations

from base64 import urlsafe_b64decode

from stream_al.active import ActiveStream
from stream_al.log.protocol import LABEL_REPLIES


def test_a_tickets_contents_hold_no_word_of_the_text_and_no_payload():
    stream = ActiveStream(labels=["spam", "ham"], budget=1.0)
    secret = "Zanzibarian marmalade for xylophonists"
    note = "a category value that is far too long to be one, and tells of quokkas in some detail"
    request = stream.push({"note": note, "country": "NZ"}, text=secret).request
    assert request is not None
    _, body, _ = request["ticket"].split(".")
    contents = urlsafe_b64decode(body).decode().lower()
    samples = b"".join(record.value for record in stream.log.tail(LABEL_REPLIES, 0, 0, 10)).decode().lower()
    assert '"words"' in contents
    assert '"words"' in samples
    for word in ("zanzibarian", "marmalade", "xylophonists", "quokkas"):
        assert word not in contents
        assert word not in samples
    assert "country=nz" in contents
