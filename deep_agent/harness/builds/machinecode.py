"""Owns recognising builds that compute the same: a fingerprint of an ELF object without its names. Pure.

Counted are the contents of every section that is loaded (code, constants, initial data), each relocation with
the place it changes and what it refers to, the libraries it needs, and where the entry lies. Left out are names of
what the object itself defines, build ids, notes, comments and paths. Places are given by section and offset,
since longer names move whole sections.
"""

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_EHDR: Final = struct.Struct("<16sHHIQQQIHHHHHH")
_SHDR: Final = struct.Struct("<IIQQQQIIQQ")
_SYM: Final = struct.Struct("<IBBHQQ")
_RELA: Final = struct.Struct("<QQq")
_DYN: Final = struct.Struct("<QQ")
_HEADER_64_LITTLE: Final = b"\x7fELF\x02\x01"
_ALLOC: Final = 2
_PROGBITS, _RELA_TYPE, _DYNAMIC, _NOBITS, _DYNSYM, _INIT_ARRAY, _FINI_ARRAY, _RELR = 1, 4, 6, 8, 11, 14, 15, 19
_CONTENTS: Final = frozenset({_PROGBITS, _INIT_ARRAY, _FINI_ARRAY, _RELR})
_DESCRIBED_BY_RELOCATIONS: Final = frozenset({".got", ".got.plt"})
_NEEDED: Final = 1
_RELATIVE: Final = frozenset({8, 1027})
"""Relocations that say all about the eight bytes they change: R_X86_64_RELATIVE, R_AARCH64_RELATIVE."""


@dataclass(frozen=True, slots=True)
class _Section:
    name: str
    kind: int
    flags: int
    address: int
    offset: int
    size: int
    link: int


class _Unreadable(Exception):
    """Not an object this reader understands."""


def machine_code_hash(artefact: bytes, entry: str) -> str:
    """Fingerprint a shared object: equal ones run the same instructions on the same constants.

    Objects may be told apart that compute the same; never the other way round.

    Args:
        artefact: the object's bytes; anything but a 64-bit little-endian ELF is told apart by its bytes.
        entry: symbol that is called; its place counts, its name does not.
    """
    digest = hashlib.sha256()
    try:
        for part in _parts(_Elf(artefact), entry):
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part)
    except (_Unreadable, struct.error, IndexError, ValueError):
        return hashlib.sha256(artefact).hexdigest()
    return digest.hexdigest()


def defines(artefact: bytes, symbol: str) -> bool:
    """Whether a shared object defines a dynamic symbol; False for what is no 64-bit little-endian ELF."""
    try:
        _Elf(artefact).place_of(symbol)
    except (_Unreadable, struct.error, IndexError, ValueError):
        return False
    return True


def _parts(elf: "_Elf", entry: str) -> Iterator[bytes]:
    yield str(elf.machine).encode()
    for section in elf.sections:
        if not section.flags & _ALLOC or section.name in _DESCRIBED_BY_RELOCATIONS:
            continue
        if section.kind in _CONTENTS:
            yield f"{section.name} {section.flags}".encode()
            yield elf.unrelocated(section)
        elif section.kind == _NOBITS:
            yield f"{section.name} {section.flags} {section.size}".encode()
    for line in sorted(elf.relocations()):
        yield line.encode()
    for library in elf.needed():
        yield f"needs {library}".encode()
    yield f"entry {elf.place_of(entry)}".encode()


class _Elf:
    """The parts of one object that matter here."""

    def __init__(self, content: bytes) -> None:
        if not content.startswith(_HEADER_64_LITTLE):
            raise _Unreadable
        self._content = content
        header = _EHDR.unpack_from(content)
        self.machine: int = header[2]
        table, count, names_index = header[6], header[12], header[13]
        raw = [_SHDR.unpack_from(content, table + index * _SHDR.size) for index in range(count)]
        names_at = raw[names_index][4]
        self.sections = tuple(
            _Section(self._text(names_at + one[0]), one[1], one[2], one[3], one[4], one[5], one[6]) for one in raw
        )
        dynsym = next((one for one in self.sections if one.kind == _DYNSYM), None)
        if dynsym is None:
            raise _Unreadable
        names = self.sections[dynsym.link]
        self._symbols = [
            (self._text(names.offset + name), section, value)
            for name, _info, _other, section, value, _size in _SYM.iter_unpack(self.content(dynsym))
        ]

    def content(self, section: _Section) -> bytes:
        """Give a section's bytes."""
        return self._content[section.offset : section.offset + section.size]

    def unrelocated(self, section: _Section) -> bytes:
        """Give a section's bytes, blank where the linker left an address that a relocation spells out."""
        content = bytearray(self.content(section))
        for offset, kind, _addend in self._entries():
            at = offset - section.address
            if kind & 0xFFFFFFFF in _RELATIVE and 0 <= at <= section.size - 8:
                content[at : at + 8] = bytes(8)
        return bytes(content)

    def _entries(self) -> Iterator[tuple[int, int, int]]:
        for section in self.sections:
            if section.kind == _RELA_TYPE and section.flags & _ALLOC:
                yield from _RELA.iter_unpack(self.content(section))

    def _text(self, offset: int) -> str:
        return self._content[offset : self._content.index(b"\0", offset)].decode(errors="replace")

    def place(self, address: int) -> str:
        """Name an address by its section and the offset in it."""
        for section in self.sections:
            if section.flags & _ALLOC and section.address <= address < section.address + max(section.size, 1):
                return f"{section.name}+{address - section.address:x}"
        return f"{address:x}"

    def place_of(self, name: str) -> str:
        """Say where a symbol of this object lies; raises ValueError when it defines none of that name."""
        value = next((value for known, section, value in self._symbols if known == name and section), None)
        if value is None:
            raise ValueError(name)
        return self.place(value)

    def relocations(self) -> Iterator[str]:
        """Give each relocation in words: the place it changes, its type, and what it refers to."""
        for offset, kind, addend in self._entries():
            name, defined, value = self._symbols[kind >> 32]
            symbol = f"{self.place(value) if defined else name} {addend:x}"
            target = symbol if kind >> 32 else self.place(addend)
            yield f"{self.place(offset)} {kind & 0xFFFFFFFF} {target}"

    def needed(self) -> Iterator[str]:
        """Name the libraries it is linked with, in order."""
        for section in self.sections:
            if section.kind == _DYNAMIC:
                names = self.sections[section.link]
                for tag, value in _DYN.iter_unpack(self.content(section)):
                    if tag == _NEEDED:
                        yield self._text(names.offset + value)
