"""Lookup tables: of modality and VOI (PS3.3 C.11.1, C.11.2), and palettes (PS3.3 C.7.6.3.1.5, C.7.9.2)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fileroom_storage.errors import CannotDecode

from .frame_attributes import Attributes

Values = npt.NDArray[np.float64]

_CHANNELS = ("Red", "Green", "Blue")
_DISCRETE, _LINEAR, _INDIRECT = 0, 1, 2


@dataclass(frozen=True, slots=True)
class LookupTable:
    """`entries` for the values from `first` on; those outside get the first or the last entry."""

    first: int
    entries: npt.NDArray[np.uint16]
    bits: int

    def apply(self, values: Values) -> npt.NDArray[np.uint16]:
        index = np.clip(np.rint(values) - self.first, 0, len(self.entries) - 1)
        looked_up: npt.NDArray[np.uint16] = self.entries[index.astype(np.intp)]
        return looked_up


def lookup_table(item: Attributes, *, signed: bool) -> LookupTable | None:
    """The table of an item of a Modality or VOI LUT Sequence; None where it has none that could be used."""
    descriptor = item.numbers("LUTDescriptor")
    entries = item.words("LUTData")
    if len(descriptor) != 3 or not entries.size:
        return None
    count, first, bits = _described(descriptor, signed=signed)
    entries = _entries(entries, count, bits)
    # some say fewer bits than their entries have
    return LookupTable(first, entries, max(bits, int(entries.max()).bit_length()))


def palette(attributes: Attributes, *, signed: bool) -> tuple[int, npt.NDArray[np.uint8]]:
    """The first value that it maps, and red, green and blue for it and those that follow. Raises CannotDecode."""
    channels = []
    first = 0
    for channel in _CHANNELS:
        descriptor = attributes.numbers(f"{channel}PaletteColorLookupTableDescriptor")
        if len(descriptor) != 3:
            raise CannotDecode("the palette that the pixels refer to is missing")
        count, first, bits = _described(descriptor, signed=signed)
        channels.append(_channel(attributes, channel, count, bits))
    length = min(map(len, channels))
    return first, np.stack([entries[:length] for entries in channels], axis=-1)


def _channel(attributes: Attributes, channel: str, count: int, bits: int) -> npt.NDArray[np.uint8]:
    entries = attributes.words(f"{channel}PaletteColorLookupTableData")
    if not entries.size:
        segmented = attributes.data(f"Segmented{channel}PaletteColorLookupTableData")
        entries = _expanded(segmented, bits, count)
    else:
        entries = _entries(entries, count, bits)
    if not entries.size:
        raise CannotDecode(f"the {channel.lower()} palette that the pixels refer to is missing")
    return (entries >> 8 if bits > 8 else entries).astype(np.uint8)


def _described(descriptor: list[float], *, signed: bool) -> tuple[int, int, int]:
    """The number of entries, the first value mapped, the bits of an entry (PS3.3 C.11.1.1)."""
    count, first, bits = map(int, descriptor)
    count &= 0xFFFF
    if signed and first > 0x7FFF:
        first -= 0x10000
    elif not signed and first < 0:
        first += 0x10000
    # PS3.3 C.11.1.1: 0 stands for 65536
    return count or 0x10000, first, bits if 8 <= bits <= 16 else 16


def _entries(words: npt.NDArray[np.uint16], count: int, bits: int) -> npt.NDArray[np.uint16]:
    """The entries; those of 8 bits come two in a word, or each in a word of its own."""
    if bits == 8 and len(words) < count:
        return words.astype("<u2").view(np.uint8)[:count].astype(np.uint16)
    return words[:count]


def _expanded(segments: bytes, bits: int, count: int) -> npt.NDArray[np.uint16]:
    """PS3.3 C.7.9.2: discrete segments, linear ones, and those that repeat others."""
    code = np.frombuffer(segments[: len(segments) // 2 * 2], "<u2") if bits > 8 else np.frombuffer(segments, "u1")
    words = code.astype(np.int64).tolist()
    if bits <= 8 and len(words) % 2 and words:
        words.append(0)
    out: list[int] = []
    _expand(words, 0, len(words), len(words), out, count, wide=bits > 8, nested=False)
    return np.array(out[:count], np.uint16)


def _expand(
    words: list[int], start: int, stop: int, most: int, out: list[int], count: int, *, wide: bool, nested: bool
) -> None:
    position, done = start, 0
    while position + 1 < stop and done < most and len(out) < count:
        opcode, length = words[position], words[position + 1]
        position += 2
        done += 1
        if opcode == _DISCRETE:
            out += words[position : position + length]
            position += length
        elif opcode == _LINEAR and position < stop:
            before, target = (out[-1] if out else 0), words[position]
            # the last entry of the segment before is where the line begins
            out += np.rint(np.linspace(before, target, length + 1)[1:]).astype(int).tolist()
            position += 1
        elif opcode == _INDIRECT and not nested:
            width = 2 if wide else 4
            low = words[position : position + width]
            offset = sum(part << (index * (16 if wide else 8)) for index, part in enumerate(low))
            # counted in bytes of the segmented data from its start
            _expand(words, offset // (2 if wide else 1), len(words), length, out, count, wide=wide, nested=True)
            position += width
        else:
            raise CannotDecode("the segmented palette is damaged")
