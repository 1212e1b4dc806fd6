"""The container of ``torch.save``: a zip file with one pickle and one member per storage, uncompressed."""

from __future__ import annotations

import re
import struct
import zipfile
import zlib
from pathlib import Path

import torch
from torch import Tensor

from taskbasis.errors import ImporterError

PICKLE_LIMIT = 16 << 20
"""Bytes; the pickle of a state dict of a thousand tensors has a tenth of a megabyte."""

_LOCAL_HEADER = struct.Struct("<4s5H3I2H")
_SAFE_NAME = re.compile(r"[^/\\\0]+(/[^/\\\0]+)*")


class TorchArchive:
    """A file written by ``torch.save``, memory-mapped; storages are views on it.

    Raises:
        ImporterError: if it is not such a file, was made on a big-endian machine, or is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise ImporterError(f"no such file: {path}")
        self._size = path.stat().st_size
        try:
            if not zipfile.is_zipfile(path):
                raise ImporterError(
                    f"{path} is not a zip archive of torch.save; files of its legacy format (torch < 1.6) "
                    f"have to be saved again by whoever trusts them"
                )
            with zipfile.ZipFile(path) as archive:
                self._members = self._check_members(archive.infolist())
                self.pickle = self._read_small(archive, "data.pkl", PICKLE_LIMIT)
                order = (
                    self._read_small(archive, "byteorder", 16) if "byteorder" in self._members else b"little"
                )
        except ImporterError:
            raise
        except Exception as error:
            # Names that are not text, fields that are cut off: each is another error of the standard library.
            raise ImporterError(f"{path} is damaged: {error}") from error
        if order != b"little":
            raise ImporterError(f"{path}: byteorder {order!r} is not supported; accepted: b'little'")
        self._bytes = torch.from_file(str(path), shared=False, size=self._size, dtype=torch.uint8)

    def storage(self, key: str) -> Tensor:
        """The bytes of one storage: uint8, a view on the mapped file.

        Raises:
            ImporterError: if there is none of that name, or its checksum is wrong.
        """
        member = self._members.get(f"data/{key}")
        if member is None:
            raise ImporterError(f"{self.path} refers to the storage {key!r}, which it does not hold")
        start = self._start(member)
        found = self._bytes[start : start + member.file_size]
        if zlib.crc32(found.numpy().data) != member.CRC:
            raise ImporterError(f"{self.path} is damaged: the checksum of storage {key!r} is wrong")
        return found

    def _check_members(self, members: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
        """Members by their names below the common folder."""
        names = [member.filename for member in members]
        prefix = names[0].split("/")[0] + "/" if names else ""
        for member in members:
            name = member.filename
            parts = name.split("/")
            if not name.startswith(prefix) or not _SAFE_NAME.fullmatch(name) or {".", ".."} & set(parts):
                raise ImporterError(f"{self.path} holds a member with the name {name!r}")
            if member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1:
                raise ImporterError(f"{self.path}: the member {name!r} is compressed or encrypted")
        if len(set(names)) != len(names):
            raise ImporterError(f"{self.path} holds several members of one name")
        if sum(member.file_size for member in members) > self._size:
            raise ImporterError(f"{self.path} is damaged: its members overlap")
        return {member.filename[len(prefix) :]: member for member in members}

    def _read_small(self, archive: zipfile.ZipFile, name: str, limit: int) -> bytes:
        member = self._members.get(name)
        if member is None:
            raise ImporterError(f"{self.path} is a zip file, but not one of torch.save: it has no {name}")
        if member.file_size > limit:
            raise ImporterError(f"{self.path}: {name} has {member.file_size} bytes, more than {limit}")
        return archive.read(member)

    def _start(self, member: zipfile.ZipInfo) -> int:
        """Where a member's content begins: its local header says, not the central directory."""
        begin = member.header_offset
        header = bytes(self._bytes[begin : begin + _LOCAL_HEADER.size].numpy())
        if len(header) < _LOCAL_HEADER.size or not header.startswith(b"PK\3\4"):
            raise ImporterError(f"{self.path} is damaged: no header at the member {member.filename!r}")
        *_, name_length, extra_length = _LOCAL_HEADER.unpack(header)
        start = begin + _LOCAL_HEADER.size + int(name_length) + int(extra_length)
        if start + member.file_size > self._size:
            raise ImporterError(f"{self.path} is damaged: the member {member.filename!r} is cut off")
        return start
