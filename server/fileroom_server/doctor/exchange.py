"""A request as one client makes it, declared once, and what is at hand when its answer is looked at."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any
from urllib.parse import quote

from .findings import Client, Fault, Severity
from .multipart_answer import Part
from .prober import Answer
from .subjects import Kind, Subject

DataSet = Mapping[str, Any]
MIB = 1 << 20

_PLACEHOLDER = re.compile(r"\{(\w+)\}")
# what may tell who a patient is: sent, never shown
_SECRET = frozenset(
    {"patient_name", "part_of_name", "patient_id", "accession_number", "study_date", "study_description"}
)


class Body(Enum):
    """How the client reads the answer."""

    DATA_SETS = auto()  # a DICOM JSON array, or 204 for an empty one
    PARTS = auto()  # multipart/related
    SINGLE = auto()  # the bytes themselves
    EITHER = auto()  # multipart/related or the bytes themselves
    STORE_RESPONSE = auto()  # one DICOM JSON data set (PS3.18 10.5.3)
    ANY = auto()  # only the status counts


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request. `path` and `query` have placeholders for values of the subject, the instance it is about.

    `effect` is what the user of the client has of it when the answer is of no use; `severity` how bad that is.
    """

    client: Client
    name: str
    path: str
    effect: str
    query: str = ""
    accept: str | None = None
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    content: Callable[[Subject], bytes] | None = None
    of: Kind = Kind.ANY
    body: Body = Body.DATA_SETS
    statuses: tuple[int, ...] = (200, 204)
    severity: Severity = Severity.BREAKS
    checks: tuple["Check", ...] = ()
    slow_after: float = 2.0
    limit: int = 32 * MIB

    def url(self, base_url: str, subject: Subject) -> str | None:
        """The URL to send; None where the subject has no value for one of the placeholders."""
        return self._filled(base_url, subject, shown=False)

    def shown_url(self, base_url: str, subject: Subject) -> str:
        """The URL to show, without what is known of the patient."""
        return self._filled(base_url, subject, shown=True) or self.template

    @property
    def template(self) -> str:
        return f"{self.path}?{self.query}" if self.query else self.path

    def missing(self, subject: Subject) -> list[str]:
        """The placeholders without a value."""
        return [name for name in _PLACEHOLDER.findall(self.template) if not subject.values.get(name)]

    def _filled(self, base_url: str, subject: Subject, *, shown: bool) -> str | None:
        if self.missing(subject):
            return None

        def value(match: re.Match[str]) -> str:
            name = match[1]
            if name in _SECRET and shown:
                return "…"
            text = subject.values[name]
            return text if name.endswith("_url") else quote(text, safe="")

        target = _PLACEHOLDER.sub(value, self.template)
        return target if target.startswith(("http://", "https://")) else base_url + target


@dataclass(slots=True)
class Exchange:
    """An answer in its place. `earlier` are those of the same client by the names of their requests."""

    ask: Ask
    subject: Subject
    base_url: str
    answer: Answer
    earlier: Mapping[str, "Exchange"]
    viewer_origin: str | None = None
    data_sets: list[DataSet] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)

    @property
    def content(self) -> bytes:
        """Of the only or first part, or of the whole answer."""
        return self.parts[0].content if self.parts else self.answer.body


# A small function that looks for one thing.
Check = Callable[[Exchange], Iterator[Fault]]
