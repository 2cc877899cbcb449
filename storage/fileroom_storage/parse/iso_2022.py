"""Code extensions by escape sequences, as DICOM uses ISO 2022 (PS3.5 6.1.2.5)."""

from typing import NamedTuple

_ESCAPE = 0x1B
_CONTROL_DELIMITERS = frozenset(b"\t\n\f\r")
_SINGLE_VALUED = frozenset(("ST", "LT", "UT"))


class Repertoire(NamedTuple):
    """What is in G0 (None: ASCII or its Japanese twin, else a set of two bytes) and in G1 (None: nothing)."""

    g1: str | None = None
    g0: str | None = None


# PS3.3 Tables C.12-3 and C.12-4: escape sequence → code element and codec
_G0_SETS: dict[bytes, str | None] = {
    b"(B": None,
    b"(J": None,
    b"(I": "kana",
    b"$B": "jis_x_0208",
    b"$@": "jis_x_0208",
    b"$(B": "jis_x_0208",
    b"$(D": "jis_x_0212",
    b"$A": "gb_2312",
    b"$(A": "gb_2312",
    b"$(C": "ks_x_1001",
}
_G1_SETS = {
    b")I": "shift_jis",
    b"-A": "latin_1",
    b"-B": "iso8859_2",
    b"-C": "iso8859_3",
    b"-D": "iso8859_4",
    b"-F": "iso8859_7",
    b"-G": "iso8859_6",
    b"-H": "iso8859_8",
    b"-L": "iso8859_5",
    b"-M": "iso8859_9",
    b"-T": "iso8859_11",
    b"-b": "iso8859_15",
    b"$)C": "euc_kr",
    b"$)A": "gb2312",
    b"$)B": "euc_jp",
}


def decode_iso_2022(value: bytes, initial: Repertoire, vr: str) -> str:
    """Raises UnicodeError for an unknown escape sequence or bytes that the sets do not have."""
    delimiters = set(_CONTROL_DELIMITERS)
    if vr not in _SINGLE_VALUED:
        delimiters.add(0x5C)
    if vr == "PN":
        delimiters.update(b"^=")
    texts: list[str] = []
    current = initial
    run = 0  # start of what is not decoded yet
    position = 0
    while position < len(value):
        byte = value[position]
        if byte == _ESCAPE:
            texts.append(_decode_run(value[run:position], current))
            length, current = _switch(value, position + 1, current)
            position = run = position + 1 + length
        elif current.g0 is not None and 0x21 <= byte <= 0x7E:
            position += 1 if current.g0 == "kana" else 2  # the second byte is no delimiter, whatever it looks like
        elif byte in delimiters:
            # PS3.5 6.1.2.5.3: the initial state comes back behind a delimiter
            texts.append(_decode_run(value[run:position], current))
            current, run = initial, position
            position += 1
        else:
            position += 1
    texts.append(_decode_run(value[run:], current))
    return "".join(texts)


def _switch(value: bytes, start: int, current: Repertoire) -> tuple[int, Repertoire]:
    for length in (2, 3):
        sequence = value[start : start + length]
        if sequence in _G0_SETS:
            return length, current._replace(g0=_G0_SETS[sequence])
        if sequence in _G1_SETS:
            return length, current._replace(g1=_G1_SETS[sequence])
    raise UnicodeError("an escape sequence that DICOM does not know")


def _decode_run(run: bytes, sets: Repertoire) -> str:
    if sets.g0 is None:
        return run.decode(sets.g1 or "ascii")
    texts: list[str] = []
    position = 0
    while position < len(run):
        start = position
        is_g0 = 0x21 <= run[position] <= 0x7E
        while position < len(run) and (0x21 <= run[position] <= 0x7E) == is_g0:
            position += 1
        part = run[start:position]
        texts.append(_decode_g0(part, sets.g0) if is_g0 else part.decode(sets.g1 or "ascii"))
    return "".join(texts)


def _decode_g0(part: bytes, name: str) -> str:
    """A set of G0 as its EUC form has it, with the high bits set."""
    high = bytes(byte | 0x80 for byte in part)
    if name == "kana":
        return high.decode("shift_jis")
    if name == "gb_2312":
        return high.decode("gb2312")
    if name == "ks_x_1001":
        return high.decode("euc_kr")
    if name == "jis_x_0208":
        return high.decode("euc_jp")
    return b"".join(b"\x8f" + high[i : i + 2] for i in range(0, len(high), 2)).decode("euc_jp")
