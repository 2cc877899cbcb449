"""What frames are without the encapsulation: PS3.18 Table 8.7.3-5, with the older names that clients still send."""

from fileroom_storage.pixels.transfer_syntaxes import COMPRESSED

from .media_types import OCTET_STREAM, Offer

EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"

_MEDIA_TYPES: dict[str, tuple[str, ...]] = {
    "1.2.840.10008.1.2.5": ("image/dicom-rle", "image/x-dicom-rle"),
    "1.2.840.10008.1.2.4.50": ("image/jpeg",),
    "1.2.840.10008.1.2.4.51": ("image/jpeg",),
    "1.2.840.10008.1.2.4.57": ("image/jpeg",),
    "1.2.840.10008.1.2.4.70": ("image/jpeg",),
    "1.2.840.10008.1.2.4.80": ("image/jls", "image/x-jls"),
    "1.2.840.10008.1.2.4.81": ("image/jls", "image/x-jls"),
    "1.2.840.10008.1.2.4.90": ("image/jp2",),
    "1.2.840.10008.1.2.4.91": ("image/jp2",),
    "1.2.840.10008.1.2.4.92": ("image/jpx",),
    "1.2.840.10008.1.2.4.93": ("image/jpx",),
    "1.2.840.10008.1.2.4.110": ("image/jxl",),
    "1.2.840.10008.1.2.4.111": ("image/jxl",),
    "1.2.840.10008.1.2.4.112": ("image/jxl",),
    "1.2.840.10008.1.2.4.201": ("image/jphc",),
    "1.2.840.10008.1.2.4.202": ("image/jphc",),
    "1.2.840.10008.1.2.4.203": ("image/jphc",),
    "1.2.840.10008.1.2.4.100": ("video/mpeg2",),
    "1.2.840.10008.1.2.4.100.1": ("video/mpeg2",),
    "1.2.840.10008.1.2.4.101": ("video/mpeg2",),
    "1.2.840.10008.1.2.4.101.1": ("video/mpeg2",),
    "1.2.840.10008.1.2.4.102": ("video/mp4",),
    "1.2.840.10008.1.2.4.102.1": ("video/mp4",),
    "1.2.840.10008.1.2.4.103": ("video/mp4",),
    "1.2.840.10008.1.2.4.103.1": ("video/mp4",),
    "1.2.840.10008.1.2.4.104": ("video/mp4",),
    "1.2.840.10008.1.2.4.104.1": ("video/mp4",),
    "1.2.840.10008.1.2.4.105": ("video/mp4",),
    "1.2.840.10008.1.2.4.105.1": ("video/mp4",),
    "1.2.840.10008.1.2.4.106": ("video/mp4",),
    "1.2.840.10008.1.2.4.106.1": ("video/mp4",),
    "1.2.840.10008.1.2.4.107": ("video/mp4",),
    "1.2.840.10008.1.2.4.108": ("video/mp4",),
}

# Native data sets; the last holds its uncompressed frames in fragments.
_NATIVE = frozenset(
    {
        "1.2.840.10008.1.2",
        EXPLICIT_VR_LITTLE_ENDIAN,
        "1.2.840.10008.1.2.1.99",
        "1.2.840.10008.1.2.2",
        "1.2.840.113619.5.2",
        "1.2.840.10008.1.2.1.98",
    }
)


def frame_media_types(transfer_syntax_uid: str) -> tuple[str, str, tuple[str, ...]]:
    """The media type of a frame, the transfer syntax it is labelled with, and what else it may be called."""
    if transfer_syntax_uid in _NATIVE:
        return OCTET_STREAM, EXPLICIT_VR_LITTLE_ENDIAN, ()
    named = _MEDIA_TYPES.get(transfer_syntax_uid, ())
    return (*named, OCTET_STREAM)[0], transfer_syntax_uid, (*named, OCTET_STREAM)[1:]


def transfer_syntaxes_of(media_type: str) -> tuple[str, ...]:
    """What frames of this media type can be encoded in, the default of PS3.18 Table 8.7.3-5 first where it has one."""
    return tuple(uid for uid, names in _MEDIA_TYPES.items() if media_type in names)


def is_native(transfer_syntax_uid: str) -> bool:
    """Whether its pixel data is not encapsulated, or holds uncompressed frames all the same."""
    return transfer_syntax_uid in _NATIVE


def stored_offers(transfer_syntax_uid: str, *, single_part: bool) -> list[Offer]:
    name, labelled, others = frame_media_types(transfer_syntax_uid)
    return _offers((name, *others), labelled, single_part=single_part)


def made_offers(transfer_syntax_uid: str, *, single_part: bool) -> list[Offer]:
    """What frames can be made into: decompressed, and compressed without loss."""
    labelled = frame_media_types(transfer_syntax_uid)[1]
    offers: list[Offer] = []
    for target in (EXPLICIT_VR_LITTLE_ENDIAN, *map(str, COMPRESSED)):
        if target != labelled:
            names = _MEDIA_TYPES.get(target, (OCTET_STREAM,))
            offers += _offers(names, target, single_part=single_part)
    return offers


def _offers(names: tuple[str, ...], transfer_syntax_uid: str, *, single_part: bool) -> list[Offer]:
    forms = (True, False) if single_part else (True,)
    return [Offer(name, multipart, transfer_syntax_uid) for multipart in forms for name in names]
