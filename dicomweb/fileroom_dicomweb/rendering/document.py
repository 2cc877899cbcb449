"""Encapsulated documents (PS3.3 A.45): handed out as what they are."""

from fileroom_storage.parse.header import Header

from .frame_attributes import Attributes

_ENCAPSULATED_DOCUMENT = 0x00420011
_BY_SOP_CLASS = {
    "1.2.840.10008.5.1.4.1.1.104.1": "application/pdf",
    "1.2.840.10008.5.1.4.1.1.104.2": "text/xml",
    "1.2.840.10008.5.1.4.1.1.104.3": "model/stl",
    "1.2.840.10008.5.1.4.1.1.104.4": "model/obj",
    "1.2.840.10008.5.1.4.1.1.104.5": "model/mtl",
}
# A document's own word on what it is counts only if it is one of these: a browser does what the type says.
_KNOWN = frozenset((*_BY_SOP_CLASS.values(), "application/zip", "image/jpeg", "image/png", "text/plain", "text/rtf"))


def is_document(header: Header) -> bool:
    return _ENCAPSULATED_DOCUMENT in header


def document_media_type(header: Header, sop_class_uid: str) -> str | None:
    named = Attributes(header.data_set).text("MIMETypeOfEncapsulatedDocument").partition(";")[0].strip().lower()
    # application/sla is what STL was called before
    named = {"application/sla": "model/stl", "application/xml": "text/xml"}.get(named, named)
    return named if named in _KNOWN else _BY_SOP_CLASS.get(sop_class_uid)


def document(header: Header) -> memoryview:
    """The document without the padding of its element; nothing is copied."""
    value = header.bulk_data(f"{_ENCAPSULATED_DOCUMENT:08X}")
    length = Attributes(header.data_set).number("EncapsulatedDocumentLength")
    # PS3.3 C.24.2
    if length is not None and len(value) - 1 <= length < len(value):
        return value[: int(length)]
    return value
