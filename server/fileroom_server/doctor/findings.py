"""What the doctor finds: how bad it is, for which client, where, and what to do."""

from dataclasses import dataclass
from enum import IntEnum, StrEnum


class Client(StrEnum):
    """Whose requests are replayed. ANY is what every client has a right to."""

    OHIF = "ohif"
    CORNERSTONE = "cornerstone"
    WEASIS = "weasis"
    DICOMWEB_CLIENT = "dicomweb-client"
    ANY = "any client"


CLIENTS = tuple(client for client in Client if client is not Client.ANY)


class Severity(IntEnum):
    """NOTE is good to know; SLOW works and is felt; LIMITED works with something missing; BREAKS does not work."""

    NOTE = 0
    SLOW = 1
    LIMITED = 2
    BREAKS = 3


class Outcome(StrEnum):
    """What became of a request."""

    PASSED = "pass"
    SLOW = "slow"
    LIMITED = "limited"
    BREAKS = "would break"
    NOT_TRIED = "not tried"


_OUTCOMES = {
    Severity.NOTE: Outcome.PASSED,
    Severity.SLOW: Outcome.SLOW,
    Severity.LIMITED: Outcome.LIMITED,
    Severity.BREAKS: Outcome.BREAKS,
}


@dataclass(frozen=True, slots=True)
class Fault:
    """What a check sees in an answer. Without a severity and an effect: those of the request it was seen in."""

    code: str
    what: str
    advice: str
    severity: Severity | None = None
    effect: str | None = None


class Unusable(Exception):
    """An answer that its client could not even begin to read; further checks of it make no sense."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.what)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Finding:
    """A fault in its place. `url` holds no patient data."""

    code: str
    severity: Severity
    client: Client
    request: str
    method: str
    url: str
    what: str
    effect: str
    advice: str
    accept: str | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one request of one client. `reason` tells why it was not tried."""

    client: Client
    request: str
    method: str
    url: str
    seconds: float | None
    findings: tuple[Finding, ...]
    reason: str | None = None

    @property
    def outcome(self) -> Outcome:
        if self.reason is not None:
            return Outcome.NOT_TRIED
        return _OUTCOMES[max((finding.severity for finding in self.findings), default=Severity.NOTE)]
