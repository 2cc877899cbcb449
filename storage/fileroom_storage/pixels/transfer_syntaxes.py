"""The transfer syntaxes that objects can be turned into, all of them lossless, in the order of preference."""

from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSLossless,
    RLELossless,
)

UNCOMPRESSED: tuple[UID, ...] = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
)
# HTJ2K and JPEG Lossless can be decoded here, but nothing that pydicom knows encodes them
COMPRESSED: tuple[UID, ...] = (JPEGLSLossless, JPEG2000Lossless, RLELossless)
TARGETS = UNCOMPRESSED + COMPRESSED

# what came through one of these has lost something, whether its header says so or not
ALWAYS_LOSSY = frozenset({JPEGBaseline8Bit, JPEGExtended12Bit})

_GE_BIG_ENDIAN_PIXELS = "1.2.840.113619.5.2"  # GE's private Implicit VR Little Endian with big-endian pixel data
BIG_ENDIAN_PIXELS = frozenset({str(ExplicitVRBigEndian), _GE_BIG_ENDIAN_PIXELS})
