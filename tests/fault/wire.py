"""Two requests of Kafka's protocol that the packaged client does not have: commit an offset with a metadata text for a group
that one is not in, and delete the first records of a partition."""

import socket
import struct

OFFSET_COMMIT, DELETE_RECORDS = 8, 21


def ask(port, kind, version, body):
    request = struct.pack(">hhi", kind, version, 1) + text("fault-suite") + body
    with socket.create_connection(("127.0.0.1", port), timeout=15) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        answer = connection.makefile("rb")
        size, = struct.unpack(">i", answer.read(4))
        return answer.read(size)[4:]


def text(value):
    return struct.pack(">h", len(value.encode())) + value.encode()


def commit(port, group, topic, offsets, metadata):
    """Commits {partition: offset} for a group without members. The error codes, by partition order."""
    body = text(group) + struct.pack(">i", -1) + text("") + struct.pack(">qi", -1, 1) + text(topic) + struct.pack(">i", len(offsets))
    for partition, offset in sorted(offsets.items()):
        body += struct.pack(">iq", partition, offset) + text(metadata)
    answer = ask(port, OFFSET_COMMIT, 2, body)
    place = 4 + 2 + len(topic.encode())
    count, = struct.unpack_from(">i", answer, place)
    return [struct.unpack_from(">ih", answer, place + 4 + 6 * n)[1] for n in range(count)]


def delete_records(port, topic, offsets):
    """Deletes what stands before {partition: offset}; -1 is the end. The error codes."""
    body = struct.pack(">i", 1) + text(topic) + struct.pack(">i", len(offsets))
    for partition, offset in sorted(offsets.items()):
        body += struct.pack(">iq", partition, offset)
    answer = ask(port, DELETE_RECORDS, 0, body + struct.pack(">i", 10000))
    place = 4 + 4 + 2 + len(topic.encode())  # throttle time, one topic
    count, = struct.unpack_from(">i", answer, place)
    return [struct.unpack_from(">iqh", answer, place + 4 + 14 * n)[2] for n in range(count)]
