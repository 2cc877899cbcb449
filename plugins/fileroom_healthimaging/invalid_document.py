"""What is wrong with a document, and where."""


class InvalidDocument(Exception):
    """A document that is no image set metadata, or more than is read.

    `path` is where, by the document's own names and UIDs: `Study/Series/1.2.3/Instances`; empty for all of it. Neither
    it nor the text holds a value of an attribute.
    """

    def __init__(self, path: str, what: str) -> None:
        super().__init__(f"{path}: {what}" if path else f"the document {what}")
        self.path = path
        self.what = what
