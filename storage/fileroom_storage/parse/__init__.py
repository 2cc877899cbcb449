"""Encoded bytes of a DICOM object → its header: values, DICOM JSON, where the pixel data and its frames are."""
