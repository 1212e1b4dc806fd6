"""Reads a ``.wandb`` file: protobuf records in the frames of a LevelDB log."""

import struct

from wandb.proto import wandb_internal_pb2

BLOCK, HEADER = 32768, 7
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def records(path):
    """Every record of the file, in order."""
    content = path.read_bytes()
    assert content[:4] == b":W&B"
    at, parts = HEADER, []
    while at < len(content):
        if (left := BLOCK - at % BLOCK) < HEADER:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + HEADER])
        at += HEADER
        parts.append(content[at : at + length])
        at += length
        if kind in (FULL, LAST):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(b"".join(parts))
            parts = []
            yield record
        else:
            assert kind in (FIRST, MIDDLE)


def of_kind(path, kind):
    """The records of one kind."""
    return [getattr(record, kind) for record in records(path) if record.WhichOneof("record_type") == kind]
