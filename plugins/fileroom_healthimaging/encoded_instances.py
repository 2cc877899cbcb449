"""A document's instances as data sets, the way that DICOM has them: each with all of its patient, study and series.

Most of what the slices of a series say is the same, so each is encoded from the one before it.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .document import Attributes, ImageFrame, ImageSetDocument, Instance, Series
from .element import Element, Encoder, encoded_element, joined, key_of_vr, pixel_representation_of, take
from .invalid_document import InvalidDocument

EXPLICIT_VR_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"

_NATIVE = frozenset({"1.2.840.10008.1.2", EXPLICIT_VR_LITTLE_ENDIAN, "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"})
_SPECIFIC_CHARACTER_SET = Element(0x00080005, encoded_element(0x00080005, "CS", b"ISO_IR 192"))
_DIFFERENT = object()
_KEPT = 4  # series of some devices alternate between two


@dataclass(frozen=True, slots=True)
class EncodedInstance:
    """An instance's data set without pixels: Explicit VR Little Endian, ISO_IR 192.

    `transfer_syntax_uid` is that of its frames as the service gives them, Explicit VR Little Endian where they are
    native or there are none. `left_out` names attributes, as `SharedFunctionalGroupsSequence/0/00191001`, whose values
    their VR has no form for or whose VR nobody tells.
    """

    study_instance_uid: str
    series_instance_uid: str
    sop_instance_uid: str
    sop_class_uid: str  # empty where the document does not tell it
    data_set: bytes
    transfer_syntax_uid: str
    frames: tuple[ImageFrame, ...]
    left_out: tuple[str, ...]


def encoded_instances(document: ImageSetDocument) -> Iterator[EncodedInstance]:
    """Each instance of the document, in its order. Raises InvalidDocument where sequences are nested too deep."""
    for series in document.series:
        encoder = _SeriesEncoder(document, series)
        for instance in series.instances:
            yield encoder.encode(instance)


class _SeriesEncoder:
    """Encodes the instances of one series one after the other."""

    def __init__(self, document: ImageSetDocument, series: Series) -> None:
        self._study_instance_uid = document.study_instance_uid
        self._series_instance_uid = series.series_instance_uid
        self._shared_attributes: dict[str, Any] = {
            **document.patient_attributes,
            **document.study_attributes,
            **series.attributes,
            "StudyInstanceUID": document.study_instance_uid,
            "SeriesInstanceUID": series.series_instance_uid,
        }
        self._shared_vrs = _by_tag({**document.vrs, **series.vrs})
        self._alike: list[_Alike] = []  # the last ones used come first

    def encode(self, instance: Instance) -> EncodedInstance:
        try:
            data_set, sop_class_uid, left_out = self._alike_to(instance).encode(instance)
        except InvalidDocument as error:
            path = f"Study/Series/{self._series_instance_uid}/Instances/{instance.sop_instance_uid}/DICOM/{error.path}"
            raise InvalidDocument(path, error.what) from None
        return EncodedInstance(
            self._study_instance_uid,
            self._series_instance_uid,
            instance.sop_instance_uid,
            sop_class_uid,
            data_set,
            _transfer_syntax_uid(instance),
            instance.frames,
            left_out,
        )

    def _alike_to(self, instance: Instance) -> "_Alike":
        representation = pixel_representation_of(instance.attributes)
        for position, alike in enumerate(self._alike):
            if alike.representation == representation and alike.vrs == instance.vrs:
                self._alike.insert(0, self._alike.pop(position))
                return alike
        encoder = Encoder({**self._shared_vrs, **_by_tag(instance.vrs)}, representation)
        self._alike = [_Alike(encoder, instance, self._shared_attributes), *self._alike[: _KEPT - 1]]
        return self._alike[0]


class _Alike:
    """Instances of a series with the same VRs by tag and the same Pixel Representation.

    These decide, besides the value itself, how it is encoded: what was equal in the one before is not encoded again.
    """

    def __init__(self, encoder: Encoder, first: Instance, shared_attributes: Attributes) -> None:
        self.representation = encoder.pixel_representation
        self.vrs = first.vrs
        self._encoder = encoder
        self._before: Attributes = {}
        self._elements_before: dict[str, Element | None] = {}
        self._shared = {_SPECIFIC_CHARACTER_SET.tag: _SPECIFIC_CHARACTER_SET}
        left_out: list[str] = []
        for key, element in encoder.elements(shared_attributes):
            take(self._shared, key, element)
            left_out += element.left_out
        self._shared_left_out = tuple(left_out)

    def encode(self, instance: Instance) -> tuple[bytes, str, tuple[str, ...]]:
        """The data set, the SOP Class UID and what was left out."""
        attributes = {**instance.attributes, "SOPInstanceUID": instance.sop_instance_uid}
        sop_class_uid = attributes.get("SOPClassUID") or attributes.get("MediaStorageSOPClassUID")
        if not isinstance(sop_class_uid, str):
            sop_class_uid = ""
        elif not attributes.get("SOPClassUID"):
            attributes["SOPClassUID"] = sop_class_uid
        before, elements_before = self._before, self._elements_before
        elements: dict[str, Element | None] = {}
        own: dict[int, Element] = {}
        left_out = self._shared_left_out
        for key, value in attributes.items():
            is_the_same = _is_the_same(before.get(key, _DIFFERENT), value)
            element = elements_before[key] if is_the_same else self._encoder.element(key, attributes)
            elements[key] = element
            if element is not None:
                take(own, key, element)
                if element.left_out:
                    left_out += element.left_out
        self._before, self._elements_before = attributes, elements
        return joined({**self._shared, **own}), sop_class_uid.strip(" \0"), left_out


def _by_tag(vrs: Mapping[str, str]) -> dict[str, str]:
    return {key_of_vr(key): vr for key, vr in vrs.items()}


def _is_the_same(before: Any, value: Any) -> bool:
    """Equal, and of one type: to Python 1, 1.0 and true are equal."""
    return type(before) is type(value) and before == value


def _transfer_syntax_uid(instance: Instance) -> str:
    if not instance.frames or instance.frames_transfer_syntax_uid in _NATIVE:
        return EXPLICIT_VR_LITTLE_ENDIAN
    return instance.frames_transfer_syntax_uid
