"""Reading on in one partition, where offsets need not be dense.

On Kafka the end of a partition counts markers of transactions, which are no records: being at the end
means that there is nothing to read, not that the last record's neighbour is the end.
"""

from __future__ import annotations

from stream_al.log.protocol import Log, Record


class Cursor:
    """Where a reader of one partition stands; it asks for no records where it knows that there are none.

    Parameters
    ----------
    log : Log
    topic : str
    partition : int
    position : int
        First offset to read.
    """

    def __init__(self, log: Log, topic: str, partition: int, position: int) -> None:
        self.position = position
        self._log = log
        self._topic = topic
        self._partition = partition

    def end(self) -> int:
        """Return the end of the partition as of now, in offsets."""
        return self._log.bounds(self._topic, self._partition)[1]

    def take(self, max_records: int, end: int | None = None) -> list[Record]:
        """Return the next records and stand behind them; nothing at the end.

        Parameters
        ----------
        max_records : int
        end : int, optional
            Offset at which to stop; without, the end as of now.
        """
        end = self.end() if end is None else end
        if self.position >= end or max_records <= 0:
            return []
        records = self._log.tail(self._topic, self._partition, self.position, max_records)
        records = [record for record in records if record.offset < end]
        # asked for after the end was: where nothing is left, nothing stands before that end
        self.position = records[-1].offset + 1 if records else end
        return records


def newest(log: Log, topic: str, partition: int, count: int) -> list[Record]:
    """Return the last records of a partition, oldest first; at least ``count`` where there are as many."""
    first, end = log.bounds(topic, partition)
    reach = count
    while end > first:
        start = max(first, end - reach)
        records = log.tail(topic, partition, start, end - start)
        if len(records) >= count or start == first:
            return records
        reach *= 4
    return []
