"""Hostile input: bytes that are no message, or one that nobody may act on, on every topic; texts that are dangerous elsewhere."""

import json
import uuid

from fault.arena import wait_until
from fault.run import fault


def message(**further):
    return {"uuid": str(uuid.uuid4()), "entrypoint": "echo", "params": {"text": "x"}, "result": None, "metadata": {}, **further}


def text(value):
    return json.dumps(value).encode()


def in_params(raw):
    """A message whose params hold these raw bytes as a value."""
    return b'{"uuid": "u", "entrypoint": "echo", "params": {"v": ' + raw + b'}, "result": null, "metadata": {}}'


def in_string(raw):
    return in_params(b'"' + raw + b'"')


def encodings():
    """Texts that are not UTF-8, or not allowed in it."""
    for raw in (b"\xff", b"\xfe", b"\x80", b"\xc3", b"\xc0\xaf", b"\xc1\x81", b"\xe0\x80\xaf", b"\xe0\x9f\xbf", b"\xed\xa0\x80", b"\xed\xbf\xbf", b"\xf0\x80\x80\xaf",
                b"\xf0\x8f\xbf\xbf", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80", b"\xe2\x82", b"\xf0\x9f\x98",
                b"caf\xe9", b"\xc3(", b"\xe2(\xa1", b"\xf0(\x8c\xbc"):
        yield in_string(raw)
        yield b'{"uuid": "u", "entrypoint": "' + raw + b'"}'
        yield b'{"uuid": "u", "entrypoint": "echo", "' + raw + b'": 1}'
    for escape in ("\\u0000", "a\\u0000b", "\\ud800", "\\udfff", "\\ud800\\ud800", "\\udc00\\ud800", "\\ud83d", "\\ud83dx", "\\ud83d\\n", "\\uD800\\u0041", "\\udead"):
        yield in_string(escape.encode())
        yield b'{"uuid": "u", "entrypoint": "echo' + escape.encode() + b'"}'
        yield b'{"uuid": "u", "entrypoint": "echo", "params": {"' + escape.encode() + b'": 1}}'


def syntax():
    """Nearly JSON."""
    for raw in (b"NaN", b"nan", b"Infinity", b"-Infinity", b"+1", b"01", b"-01", b"1.", b".5", b"1e", b"1e+", b"0x10", b"1_000", b"--1", b"-", b"tru", b"TRUE", b"nul", b"None",
                b"undefined", b"'single'", b"[1,]", b"[,1]", b"[1 2]", b"[", b"]", b"{", b'{"a"}', b'{"a":}', b'{"a":1,}', b"{a:1}", b'{1:1}', b'{"a":1 "b":2}', b"[1}", b'{"a":1]',
                b"/* c */ 1", b"1 // c", b"# c\n1", b'"\\x41"', b'"\\q"', b'"\\u12"', b'"\\u12G4"', b'"unfinished', b'"line\nbreak"', b'"tab\tin it"', b'"nul\x00byte"', b'"\x1f"', b'"\x01"',
                b"\xef\xbb\xbf1", b"\xc2\xa01", b"1;2", b"=1"):
        yield in_params(raw)
    for raw in (b"1e400", b"-1e400", b"1e309", b"1e99999", b"18446744073709551616", b"9223372036854775808", b"-9223372036854775809", b"1" + b"0" * 400, b"1e-99999999999",
                b"123456789012345678901234567890"):
        yield in_params(raw)
    yield b"\xef\xbb\xbf" + text(message())
    for tail in (b"x", b"{}", b"\x00", b"//", b",", b"]", b"}", b" null", b"\n{}"):
        yield text(message()) + tail
    for head in (b"x", b"\x00", b",", b"//\n", b"/**/"):
        yield head + text(message())


def doubled():
    """The same key twice."""
    for key in ("uuid", "entrypoint", "params", "result", "metadata"):
        whole = text(message())[:-1]
        yield whole + b', "' + key.encode() + b'": null}'
        yield whole + b', "' + key.encode() + b'": "x"}'
        yield whole + b', "\\u00' + f"{ord(key[0]):02x}".encode() + key[1:].encode() + b'": 1}'
    yield in_params(b'{"a": 1, "a": 2}')
    yield in_params(b'{"a": {"b": 1, "b": 1}}')
    yield in_params(b'[{"a": 1, "\\u0061": 2}]')


def sizes():
    for depth in (65, 100, 1000, 100000):
        yield in_params(b"[" * depth + b"]" * depth)
        yield in_params(b'{"a":' * depth + b"1" + b"}" * depth)
        yield b"[" * depth
    yield in_string(b"x" * (1 << 20))
    yield in_params(b"{" + b",".join(b'"%d":0' % n for n in range(60000)) + b"")  # and never closed
    yield b'{"uuid": "u", "entrypoint": "' + b"e" * 256 + b'"}'
    yield b'{"uuid": "' + b"u" * 1000000 + b'", "entrypoint": "echo"'
    yield b" " * 900000
    yield b"\x00" * 100000


def types():
    """Fields of another type, and none."""
    wrong = (1, -1, 1.5, True, False, [], [1], "x", {})
    for field, right in (("uuid", str), ("entrypoint", str), ("params", dict), ("metadata", dict)):
        for value in wrong:
            if not isinstance(value, right):
                yield text(message(**{field: value}))
    for value in wrong:
        if value != {}:
            yield text(message(result=value))
    for field in ("uuid", "entrypoint"):
        whole = message()
        del whole[field]
        yield text(whole)
        yield text(message(**{field: None}))
    for value in (None, True, 0, 1.5, "text", [], [message()], {}):
        yield text(value)
    for name in ("", "a\nb", "a\x1b[31m", "\x07", "e" * 300, "\x7f"):
        yield text(message(entrypoint=name))


def stamps():
    """Well-formed messages with a stamp of kser's own that cannot be."""
    right = {"op": str(uuid.uuid4()), "pos": 0, "attempt": 1, "gen": 1, "epoch": 1, "kind": "result", "worker": "w"}
    for key in ("op", "pos", "attempt", "gen"):
        for value in ("x", 1.5, [], {}, True, None, -1 if key in ("pos", "attempt") else "y", 2 ** 62 if key in ("pos", "attempt") else "z", "' or 1=1 --"):
            yield text(message(metadata={"kser": {**right, key: value}}))


def pieces():
    """A good message that was cut off."""
    whole = text(message(metadata={"kser": {"op": str(uuid.uuid4()), "pos": 0, "attempt": 1, "gen": 1}}))
    for end in range(0, len(whole) - 1, 2):
        yield whole[:end]


def flipped():
    """A good message with the highest bit of one byte flipped: no UTF-8 any more."""
    whole = text(message())
    for place in range(len(whole)):
        yield whole[:place] + bytes([whole[place] ^ 0x80]) + whole[place + 1:]


def hostile():
    """Bytes that no topic may take for a message. Stamps are left out: only results and tasks have them."""
    for source in (encodings, syntax, doubled, sizes, types, pieces, flipped):
        yield from source()


@fault("hostile-json", "hostile bytes to every topic: each is refused and kept, nothing is written, nothing crashes", "input", quick=True, seeds=1, fresh=True, wanted=500)
def hostile_json(run):
    refuse(run, list(hostile()), ("tasks", "results", "operations"))


@fault("hostile-stamps", "replies and tasks whose stamp cannot be", "input", seeds=1, fresh=True)
def hostile_stamps(run):
    refuse(run, list(stamps()), ("results",))


def refuse(run, cases, topics):
    database = run.arena.database
    count = "select count(*) from kser.dead_letters where topic = %s"
    ignored = "select coalesce(sum(value), 0) from kser.counters where name in ('replies_late', 'replies_stale', 'replies_unknown')"
    # What a broker would not take is no case: its limit is kser's own.
    cases = [case for case in cases if len(case) < 1000000]
    with run.during(repeats=False):
        for name in topics:
            topic = run.arena.topic(name)
            before = database.value(count, topic) + int(database.value(ignored))
            run.arena.kafka.produce(topic, cases)
            run.hit(len(cases))
            seen = lambda: database.value(count, topic) + int(database.value(ignored)) - before
            try:
                wait_until(lambda: seen() >= len(cases), 60, "the refusals", pause=0.2)
            except AssertionError:
                pass
            run.demand(seen() == len(cases), "no phantom", f"{len(cases)} hostile records on {name}, {seen()} refused: {missing(run, topic, cases)}")
    run.note(f"{len(cases)} cases on each of {', '.join(topics)}")
    for process in [*run.arena.orchestrators, *run.arena.workers]:
        raw = [line for line in process.log.read_bytes().splitlines() if any(byte < 32 and byte != 9 or byte == 127 for byte in line)]
        run.demand(not raw, "bounded", f"{process.name} logs control characters: {raw[:1]}")


def missing(run, topic, cases):
    """The first records of the topic that are cases and became no dead letter."""
    kept = {(row[0], row[1]) for row in run.arena.database.query("select partition, kafka_offset from kser.dead_letters where topic = %s", topic)}
    wanted = set(cases)
    return [bytes(record.value() or b"")[:120] for record in run.arena.kafka.read(topic)
            if (record.value() or b"") in wanted and (record.partition(), record.offset()) not in kept][:5]


METACHARACTERS = ["'; drop table kser.tasks; --", "\\'; select pg_sleep(9); --", "$$; drop schema kser cascade; $$", "%s %n %d {}", "\u001b[31mred\u001b[0m", "a\nb\tc\r", "\u202eevil",
                  "\ufeff", "😀" * 50, "{\"a\": 1}", "\\u0000", "null", "' || 'x", "${HOME} `id` $(id)", "../../etc/passwd", "\u0001\u0002\u007f", "'" * 100, "\"" * 100, "\\" * 100]


@fault("metacharacters", "texts that are dangerous in SQL, in a shell, on a terminal: in params, names and keys they are texts", "input", quick=True, seeds=1)
def metacharacters(run):
    with run.during(repeats=False):
        for value in METACHARACTERS:
            work, command = run.arena.work(), run.arena.command()
            work["params"]["note"] = value
            work["params"][value] = {value: [value]}
            command["params"]["note"] = value
            run.submit(work, command)
            run.hit()
        run.flow(20)
