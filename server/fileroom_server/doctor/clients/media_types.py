"""The Accept headers that clients send, letter by letter."""

DICOM_JSON = "application/dicom+json"
# OHIF and cornerstone, with omitQuotationForMultipartRequest and without
FRAMES = "multipart/related; type=application/octet-stream; transfer-syntax=*"
FRAMES_QUOTED = 'multipart/related; type="application/octet-stream"; transfer-syntax="*"'
FRAMES_ANY_TYPE = 'multipart/related; type="*/*"'
OCTET_STREAM_PARTS = 'multipart/related; type="application/octet-stream"'
OBJECT_PARTS = 'multipart/related; type="application/dicom"'
