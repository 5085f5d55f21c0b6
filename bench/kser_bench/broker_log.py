"""How many records the broker was given at once: the batches in its log. A client sends a batch of one partition with one request."""

import struct

HEAD = 61
LENGTH_AT, COUNT_AT, UNCOUNTED = 8, 57, 12


def batches(path, start):
    """Yields the number of records of each batch in a segment from byte `start` on."""
    size = path.stat().st_size
    with path.open("rb") as segment:
        while start + HEAD <= size:
            segment.seek(start)
            head = segment.read(HEAD)
            length, = struct.unpack_from(">i", head, LENGTH_AT)
            count, = struct.unpack_from(">i", head, COUNT_AT)
            if length <= 0:
                return
            yield count
            start += UNCOUNTED + length


class BrokerLog:
    """The segments of some topics of a broker on this machine."""

    def __init__(self, directory, topics):
        """`topics`: {what it is called here: its name}."""
        self.directory, self.topics = directory, topics

    def sizes(self):
        return {path: path.stat().st_size for topic in self.topics.values() for path in self.segments(topic)}

    def segments(self, topic):
        return sorted(path for path in self.directory.glob(f"{topic}-*/*.log") if path.parent.name.rsplit("-", 1)[0] == topic)

    def since(self, sizes):
        """{what: (records, batches, bytes)} of what was written after sizes() were taken."""
        grown = {}
        for what, topic in self.topics.items():
            counts, written = [], 0
            for path in self.segments(topic):
                start = sizes.get(path, 0)
                counts += batches(path, start)
                written += path.stat().st_size - start
            grown[what] = (sum(counts), len(counts), written)
        return grown
