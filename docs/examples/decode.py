#!/usr/bin/env python3
"""Decodes Starling frames and records with nothing but the standard library.

Written from docs/protocol.md alone: a test runs it over every golden vector, which shows that the document suffices.

    decode.py HEX                 a frame with its length in front
    decode.py --datagram HEX      a datagram
    decode.py --record HEX        a record of a room's log
    decode.py --golden FILE       every vector of client-protocol/tests/golden/frames.txt
    decode.py --ids FILE          checks client-protocol/tests/golden/ids.txt
"""

import hashlib
import sys
import uuid


class Malformed(Exception):
    """The bytes are not what they should be."""


class Reader:
    """Bytes with a position. Every value that is read is noted: its bytes, its name, what it says."""

    def __init__(self, data, notes=None):
        self.data, self.at, self.notes = data, 0, [] if notes is None else notes

    def take(self, count):
        if count > len(self.data) - self.at:
            raise Malformed(f"{count} bytes wanted, {len(self.data) - self.at} left")
        self.at += count
        return self.data[self.at - count : self.at]

    def rest(self):
        return self.take(len(self.data) - self.at)

    def varint(self, size):
        first = self.take(1)[0]
        if first < 251:
            return first
        length = {251: 2, 252: 4, 253: 8}.get(first)
        if length is None or length > size:
            raise Malformed(f"varint mark {first}")
        return int.from_bytes(self.take(length), "little")

    def tag(self):
        value = self.take(1)[0]
        if value > 1:
            raise Malformed(f"{value} where 0 or 1 must stand")
        return value == 1


def scalar(read, show=str):
    """A type that is noted as one value."""

    def decode(reader, name):
        start = reader.at
        value = read(reader)
        reader.notes.append((reader.data[start : reader.at], name, show(value)))
        return value

    return decode


def sized(reader):
    return reader.take(reader.varint(8))


def shown_bytes(value):
    return f"{len(value)} bytes" + (f": {value.decode('utf-8', 'replace')}" if value else "")


U8 = scalar(lambda r: r.take(1)[0])
BOOL = scalar(Reader.tag)
U16 = scalar(lambda r: r.varint(2))
U32 = scalar(lambda r: r.varint(4))
U64 = scalar(lambda r: r.varint(8))
ID = scalar(lambda r: uuid.UUID(bytes=bytes(r.take(16))))
STRING = scalar(lambda r: str(sized(r), "utf-8"), repr)
BYTES = scalar(sized, shown_bytes)


def struct(*fields):
    def decode(reader, name):
        return {field: kind(reader, f"{name}.{field}") for field, kind in fields}

    return decode


def listed(kind):
    def decode(reader, name):
        count = scalar(lambda r: r.varint(8))(reader, f"{name}: count")
        return [kind(reader, f"{name}[{index}]") for index in range(count)]

    return decode


def tail(*fields):
    """Optional fields, only ever appended: missing ones are None, unknown ones are skipped."""

    def decode(reader, name):
        length = scalar(lambda r: r.varint(8))(reader, f"{name}: bytes")
        inner = Reader(reader.take(length), reader.notes)
        values = {}
        for field, kind in fields:
            there = inner.at < len(inner.data) and scalar(Reader.tag)(inner, f"{name}.{field}: present")
            values[field] = kind(inner, f"{name}.{field}") if there else None
        if inner.at < len(inner.data):
            inner.notes.append((inner.rest(), f"{name}: of a later version", "skipped"))
        return values

    return decode


NO_TAIL = tail()
HEAD = struct(("room", ID), ("key", ID), ("retry", BOOL))
BODY = struct(("format", U8), ("bytes", BYTES))
RANGE = struct(("min", U32), ("max", U32))
SETTINGS = tail(("name", STRING), ("topic", STRING), ("post_role", U8), ("edit_window_s", U32))
ATTACHMENT = struct(("id", STRING), ("name", STRING), ("mime", STRING), ("size", U64), ("tail", NO_TAIL))
MESSAGE_TAIL = tail(("relation", struct(("kind", U8), ("seq", U64))), ("attachments", listed(ATTACHMENT)))
REPLY_TAIL = tail(("retry_after_ms", U64), ("detail", STRING), ("room", ID), ("time_ms", U64))
ERASED_TAIL = tail(("heir", ID))
ROOM_TAIL = tail(("name", STRING), ("topic", STRING), ("peer", ID), ("members", U32))
ROOM_ENTRY = struct(
    ("room", ID), ("kind", U8), ("role", U8), ("head", U64), ("message_no", U64), ("time_ms", U64),
    ("read_seq", U64), ("read_message_no", U64), ("tail", ROOM_TAIL),
)
ROOMS = struct(("rooms", listed(ROOM_ENTRY)), ("next", U32), ("tail", NO_TAIL))
MEMBER_ENTRY = struct(("user", ID), ("role", U8), ("joined_seq", U64), ("tail", NO_TAIL))
REACTION_COUNT = struct(("reaction", STRING), ("count", U32), ("mine", BOOL), ("tail", NO_TAIL))
MESSAGE = struct(
    ("seq", U64), ("message_no", U64), ("time_ms", U64), ("actor", ID), ("key", ID), ("body", BODY),
    ("mentions", listed(ID)), ("edited_ms", U64), ("deleted", BOOL), ("pinned", BOOL),
    ("reactions", listed(REACTION_COUNT)), ("as_of", U64), ("tail", MESSAGE_TAIL),
)
EVENT_HEAD = struct(
    ("seq", U64), ("time_ms", U64), ("actor", ID), ("key", ID), ("node", U32), ("message_no", U64),
)
JUST_HEAD = struct(("head", HEAD), ("tail", NO_TAIL))
JUST_USER = struct(("user", ID), ("tail", NO_TAIL))
JUST_TARGET = struct(("target", U64), ("tail", NO_TAIL))
CHANGE_MEMBER = struct(("head", HEAD), ("user", ID), ("tail", NO_TAIL))
TARGET_MESSAGE = struct(("head", HEAD), ("target", U64), ("tail", NO_TAIL))
REACT = struct(("head", HEAD), ("target", U64), ("reaction", STRING), ("tail", NO_TAIL))
REACTED = struct(("target", U64), ("reaction", STRING), ("tail", NO_TAIL))
ROOM_AND_SEQ = struct(("room", ID), ("seq", U64), ("tail", NO_TAIL))
CREATED = (("kind", U8), ("members", listed(ID)), ("settings", SETTINGS))

EVENTS = {
    0x0001: ("MessagePosted", struct(("body", BODY), ("mentions", listed(ID)), ("tail", MESSAGE_TAIL))),
    0x0002: ("MessageEdited", struct(("target", U64), ("body", BODY), ("tail", NO_TAIL))),
    0x0003: ("MessageDeleted", JUST_TARGET),
    0x0004: ("ReactionAdded", REACTED),
    0x0005: ("ReactionRemoved", REACTED),
    0x0006: ("MessagePinned", JUST_TARGET),
    0x0007: ("MessageUnpinned", JUST_TARGET),
    0x8010: ("RoomCreated", struct(*CREATED)),
    0x8011: ("MemberJoined", JUST_USER),
    0x8012: ("MemberLeft", JUST_USER),
    0x8013: ("MemberAdded", JUST_USER),
    0x8014: ("MemberKicked", JUST_USER),
    0x8015: ("MemberBanned", JUST_USER),
    0x8016: ("MemberUnbanned", JUST_USER),
    0x8017: ("RoleChanged", struct(("user", ID), ("role", U8), ("tail", NO_TAIL))),
    0x8019: ("UserErased", struct(("user", ID), ("tail", ERASED_TAIL))),
    0x8018: ("SettingsChanged", struct(("settings", SETTINGS))),
    0x0100: ("RoomListed", ROOM_AND_SEQ),
    0x0101: ("RoomUnlisted", ROOM_AND_SEQ),
    0x0102: ("ReadMarked", struct(("room", ID), ("epoch", U64), ("seq", U64), ("message_no", U64), ("tail", NO_TAIL))),
    0x0103: ("Notified", struct(("room", ID), ("seq", U64), ("kind", U8), ("tail", NO_TAIL))),
}


def record(reader, name):
    length = scalar(lambda r: r.varint(4))(reader, f"{name}: bytes")
    inner = Reader(reader.take(length), reader.notes)
    kind = scalar(lambda r: r.varint(2), lambda value: f"{value:#06x} {EVENTS.get(value, ('?',))[0]}")(inner, f"{name}.kind")
    head = EVENT_HEAD(inner, f"{name}.head")
    if kind not in EVENTS:
        # Unknown: skipped by its length, the cursor moves on.
        inner.notes.append((inner.rest(), f"{name}: unknown kind", "skipped"))
        return kind, head, None
    body = EVENTS[kind][1](inner, f"{name}.body")
    if inner.at < len(inner.data):
        raise Malformed(f"{len(inner.data) - inner.at} bytes after the body of a record")
    return kind, head, body


def records(reader, name):
    found = []
    while reader.at < len(reader.data):
        found.append(record(reader, f"{name}[{len(found)}]"))
    return found


# Kind: (name, whether a request id stands in front of the body, body).
FRAMES = {
    0x0100: ("Hello", False, struct(("minor", U16), ("features", U64), ("device", ID), ("token", STRING), ("tail", NO_TAIL))),
    0x0101: ("Reauth", True, struct(("token", STRING), ("tail", NO_TAIL))),
    0x0110: ("CreateRoom", True, struct(("key", ID), *CREATED)),
    0x0111: ("JoinRoom", True, JUST_HEAD),
    0x0112: ("LeaveRoom", True, JUST_HEAD),
    0x0113: ("AddMember", True, CHANGE_MEMBER),
    0x0114: ("KickMember", True, CHANGE_MEMBER),
    0x0115: ("BanMember", True, CHANGE_MEMBER),
    0x0116: ("UnbanMember", True, CHANGE_MEMBER),
    0x0117: ("SetRole", True, struct(("head", HEAD), ("user", ID), ("role", U8), ("tail", NO_TAIL))),
    0x0118: ("UpdateRoom", True, struct(("head", HEAD), ("settings", SETTINGS))),
    0x0120: ("Subscribe", True, struct(("room", ID), ("epoch", U64), ("after_seq", U64), ("tail", NO_TAIL))),
    0x0121: ("Unsubscribe", True, struct(("room", ID), ("tail", NO_TAIL))),
    0x0130: ("PostMessage", True, struct(("head", HEAD), ("body", BODY), ("mentions", listed(ID)), ("tail", MESSAGE_TAIL))),
    0x0131: ("EditMessage", True, struct(("head", HEAD), ("target", U64), ("body", BODY), ("tail", NO_TAIL))),
    0x0132: ("DeleteMessage", True, TARGET_MESSAGE),
    0x0133: ("AddReaction", True, REACT),
    0x0134: ("RemoveReaction", True, REACT),
    0x0135: ("PinMessage", True, TARGET_MESSAGE),
    0x0136: ("UnpinMessage", True, TARGET_MESSAGE),
    0x0137: ("MarkRead", True, ROOM_AND_SEQ),
    0x0140: ("WatchPresence", True, struct(("users", listed(ID)), ("tail", NO_TAIL))),
    0x0141: ("SetPresence", True, struct(("state", U8), ("tail", NO_TAIL))),
    0x0150: ("Typing", False, struct(("room", ID), ("tail", NO_TAIL))),
    0x0180: ("History", True, struct(("room", ID), ("before", U64), ("after", U64), ("limit", U32), ("tail", NO_TAIL))),
    0x0181: ("ListMembers", True, struct(("room", ID), ("after", ID), ("limit", U32), ("tail", NO_TAIL))),
    0x0182: ("ListRooms", True, struct(("offset", U32), ("limit", U32), ("tail", NO_TAIL))),
    0x0183: ("Search", True, struct(("room", ID), ("text", STRING), ("before", U64), ("limit", U32), ("tail", NO_TAIL))),
    0x0200: ("Welcome", False, struct(
        ("minor", U16), ("features", U64), ("epoch", U64), ("user", ID), ("session", ID), ("expires_ms", U64),
        ("now_ms", U64), ("subscriptions_max", U32), ("open_requests_max", U32), ("body_bytes_max", U32),
        ("reconnect_after_ms", RANGE), ("tail", NO_TAIL))),
    0x0201: ("Reply", True, struct(("code", U16), ("seq", U64), ("tail", REPLY_TAIL))),
    0x0202: ("Goaway", False, struct(("reconnect_after_ms", RANGE), ("tail", NO_TAIL))),
    0x0210: ("Rooms", False, ROOMS),
    0x0211: ("Events", False, struct(
        ("room", ID), ("first_seq", U64), ("count", U32), ("tail", NO_TAIL), ("records", records))),
    0x0212: ("Bump", False, struct(("room", ID), ("head", U64), ("message_no", U64), ("mentioned", BOOL), ("tail", NO_TAIL))),
    0x0213: ("Reset", False, struct(("room", ID), ("epoch", U64), ("head", U64), ("reason", U8), ("tail", NO_TAIL))),
    0x0214: ("SubscriptionEnded", False, struct(("room", ID), ("last_seq", U64), ("code", U16), ("tail", NO_TAIL))),
    0x0240: ("Presence", False, struct(("users", listed(struct(("user", ID), ("state", U8)))), ("tail", NO_TAIL))),
    0x0250: ("TypingNotice", False, struct(("room", ID), ("user", ID), ("tail", NO_TAIL))),
    0x0280: ("HistoryPage", True, struct(("messages", listed(MESSAGE)), ("more", BOOL), ("head", U64), ("tail", NO_TAIL))),
    0x0281: ("MembersPage", True, struct(("members", listed(MEMBER_ENTRY)), ("more", BOOL), ("tail", NO_TAIL))),
    0x0282: ("RoomsPage", True, ROOMS),
    0x0283: ("SearchPage", True, struct(("messages", listed(MESSAGE)), ("next", U64), ("tail", NO_TAIL))),
}


def frame(reader, datagram=False):
    if not datagram:
        length = scalar(lambda r: int.from_bytes(r.take(4), "little"))(reader, "length")
        if length != len(reader.data) - reader.at:
            raise Malformed(f"length {length}, {len(reader.data) - reader.at} bytes follow")
    show = lambda value: f"{value:#06x} {FRAMES.get(value, ('?',))[0]}"
    kind = scalar(lambda r: int.from_bytes(r.take(2), "little"), show)(reader, "kind")
    if kind not in FRAMES:
        raise Malformed(f"unknown kind {kind:#06x}")
    name, has_request, body = FRAMES[kind]
    request = U64(reader, "request") if has_request else None
    return kind, name, request, body(reader, name)


def decode(way, data):
    """Decodes bytes that travelled in the given way; returns kind, name and notes."""
    reader = Reader(data)
    if way == "record":
        kind = record(reader, "event")[0]
        name = EVENTS.get(kind, ("?",))[0]
    else:
        kind, name, _, _ = frame(reader, way.endswith("datagram"))
    if reader.at < len(data):
        raise Malformed(f"{len(data) - reader.at} bytes are left over")
    return kind, name, reader.notes


def lines(path):
    with open(path, encoding="utf-8") as file:
        return [line.split() for line in file if line.strip() and not line.startswith("#")]


def check_golden(path):
    vectors = lines(path)
    for way, vector, number, text in vectors:
        data = bytes.fromhex(text)
        kind, name, notes = decode(way, data)
        assert (f"{kind:#06x}", name) == (number, vector.split("/")[0]), vector
        assert b"".join(part for part, _, _ in notes) == data, f"{vector}: bytes that no field accounts for"
        for end in range(len(data)):
            try:
                whole = decode(way, data[:end])
            except Malformed:
                continue
            raise AssertionError(f"{vector} cut to {end} bytes reads as {whole}")
    print(f"{len(vectors)} vectors")


def derived(name):
    namespace = b"starling/ids/v1\0"
    return uuid.UUID(bytes=hashlib.sha1(namespace + name).digest()[:16], version=5)


def check_ids(path):
    for what, *given, expected in lines(path):
        if what == "direct":
            low, high = sorted(uuid.UUID(user).bytes for user in given)
            found = derived(b"d" + low + high)
        elif what == "created":
            found = derived(b"r" + uuid.UUID(given[0]).bytes + uuid.UUID(given[1]).bytes)
        else:
            continue
        assert str(found) == expected, (what, given)


def main(arguments):
    if len(arguments) == 2 and arguments[0] == "--golden":
        check_golden(arguments[1])
    elif len(arguments) == 2 and arguments[0] == "--ids":
        check_ids(arguments[1])
    elif arguments and not arguments[-1].startswith("-"):
        way = {"--record": "record", "--datagram": "datagram"}.get(arguments[0], "frame")
        _, _, notes = decode(way, bytes.fromhex(arguments[-1]))
        for part, name, value in notes:
            print(f"{part.hex():<34}  # {name} = {value}")
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
