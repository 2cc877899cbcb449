"""The bulk data of a header."""

from fileroom_storage.parse.header import Header


def bulk_data_paths(header: Header, threshold: int = 0) -> list[str]:
    """The paths that DICOM JSON refers to, in its order."""
    paths: list[str] = []

    def uri(path: str) -> str:
        paths.append(path)
        return path

    header.dicom_json(bulk_data_uri=uri, bulk_data_threshold=threshold)
    return paths
