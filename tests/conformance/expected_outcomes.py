"""How many files of each category are stored and refused; what is refused cannot be kept.

Refused are: what is not DICOM at all (texts, JSON, an ICC profile, a gzip file, a data set that begins in the middle of
a tag), DICOMDIRs and other data sets without a Study, Series or SOP Instance UID, those cut off or with lengths that
lie, and one whose SOP Instance UID has 67 characters.
"""

STORED, REFUSED, CANNOT_BE_SENT = "stored", "refused", "cannot be sent"

STUDIES = "corpus studies"

_BY_STOW_RS: dict[str, dict[str, int]] = {
    "pydicom charset_files": {REFUSED: 3, STORED: 15},
    "pydicom test_files": {REFUSED: 30, STORED: 146},
    "corpus seg-sr-sm-ann": {STORED: 25},
    "corpus seg-sr-pm": {STORED: 21},
    "corpus compressed": {REFUSED: 8, STORED: 169},
    "corpus mixed": {REFUSED: 4, STORED: 41},
    "corpus seg-sr-op": {STORED: 9},
    "corpus pt-us": {STORED: 4},
    "corpus charset-broken": {REFUSED: 9, STORED: 31},
    "corpus mr-ct-vendors": {STORED: 111},
    "corpus enhanced-mr": {STORED: 13},
    "corpus rt": {STORED: 12},
    STUDIES: {STORED: 517},
}
# A DICOMDIR has no presentation context to be sent in, and pynetdicom sends no UID of 67 characters.
_BY_C_STORE = _BY_STOW_RS | {
    "pydicom test_files": {CANNOT_BE_SENT: 8, REFUSED: 22, STORED: 146},
    "corpus mixed": {CANNOT_BE_SENT: 1, REFUSED: 3, STORED: 41},
    "corpus charset-broken": {CANNOT_BE_SENT: 1, REFUSED: 8, STORED: 31},
}
EXPECTED = {"C-STORE": _BY_C_STORE, "STOW-RS": _BY_STOW_RS}
