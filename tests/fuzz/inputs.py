"""Inputs of a target: what is right, damaged in the ways that readers of bytes fall over."""

import struct

from hypothesis import strategies as st

# Lengths and numbers that somebody may have forgotten.
_NUMBERS = (0, 1, 2, 7, 8, 0x7F, 0x80, 0xFE, 0xFF, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF)
_INTERESTING = st.sampled_from(
    [
        *(struct.pack(form, number) for number in _NUMBERS for form in ("<Q", ">Q")),
        *(struct.pack(form, number) for number in _NUMBERS for form in ("<I", ">I")),
        *(struct.pack(form, number) for number in _NUMBERS if number < 1 << 16 for form in ("<H", ">H")),
        b"\xfe\xff\x00\xe0\xff\xff\xff\xff",
        b"\xfe\xff\x0d\xe0\x00\x00\x00\x00",
        b"\xfe\xff\xdd\xe0\x00\x00\x00\x00",
        b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 192",
        *(
            b"SQ",
            b"UN",
            b"UT",
            b"??",
            b"\x1b$B",
            b"\\",
            b"=",
            b"^",
            b"*",
            b"%00",
            b"%ff",
            b"\r\n",
            b"\n",
            b'"',
            b"'",
            b";",
        ),
        *(b"..", b"/", b"../", b"--", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b"1e999", b"NaN", b"-1", b"9" * 40, b"\0"),
    ]
)


@st.composite
def damaged(draw: st.DrawFn, seeds: tuple[bytes, ...]) -> bytes:
    """One of the seeds with up to six things done to it; one in eight is nothing but bytes."""
    if draw(st.integers(0, 7)) == 7:
        return draw(st.binary(max_size=300))
    content = draw(st.sampled_from(seeds))
    for _ in range(draw(st.integers(0, 6))):
        content = draw(_once(content, seeds))
    return content


@st.composite
def _once(draw: st.DrawFn, content: bytes, seeds: tuple[bytes, ...]) -> bytes:
    start = draw(st.integers(0, len(content)))
    end = min(start + draw(st.integers(0, 16)), len(content))
    kind = draw(st.sampled_from(("put", "put", "insert", "flip", "drop", "cut", "repeat", "splice")))
    if kind == "put":
        new = draw(_INTERESTING)
        return content[:start] + new + content[start + len(new) :]
    if kind == "insert":
        return content[:start] + draw(st.one_of(_INTERESTING, st.binary(max_size=8))) + content[start:]
    if kind == "flip":
        return content[:start] + bytes(byte ^ draw(st.integers(1, 255)) for byte in content[start:end]) + content[end:]
    if kind == "drop":
        return content[:start] + content[end:]
    if kind == "cut":
        return content[:start]
    if kind == "repeat":
        return content[:start] + content[start:end] * draw(st.integers(2, 200)) + content[end:]
    other = draw(st.sampled_from(seeds))
    return content[:start] + other[draw(st.integers(0, len(other))) :]
