"""What every client has a right to: refusals that can be told from successes and from failures."""

from ..checks import refusals
from ..exchange import MIB, Ask, Body
from ..findings import Client, Severity
from ..subjects import Kind
from .media_types import DICOM_JSON, FRAMES

_INSTANCE = "/studies/{study}/series/{series}/instances/{instance}"
_UNKNOWN = "2.25.219876543210987654321098765432109876"

REQUESTS: tuple[Ask, ...] = (
    Ask(
        client=Client.ANY,
        name="search for what there is not",
        path="/studies",
        query=f"StudyInstanceUID={_UNKNOWN}",
        effect="Who searches for nothing gets an error.",
        accept=DICOM_JSON,
        severity=Severity.LIMITED,
        checks=(refusals.nothing_found,),
    ),
    Ask(
        client=Client.ANY,
        name="metadata of an unknown study",
        path=f"/studies/{_UNKNOWN}/metadata",
        effect="Clients take an unknown study for an empty one.",
        accept=DICOM_JSON,
        body=Body.ANY,
        severity=Severity.LIMITED,
        checks=(refusals.refuses(404, 410), refusals.tells_why),
    ),
    Ask(
        client=Client.ANY,
        name="a frame that there is not",
        path=f"{_INSTANCE}/frames/99999999",
        effect="Clients cannot tell a wrong frame number from a failure.",
        of=Kind.IMAGE,
        accept=FRAMES,
        body=Body.ANY,
        severity=Severity.LIMITED,
        limit=1 * MIB,
        checks=(refusals.refuses(400, 404, 406), refusals.tells_why),
    ),
    Ask(
        client=Client.ANY,
        name="a search with nonsense",
        path="/studies",
        query="StudyDate=nonsense&limit=many",
        effect="Clients cannot tell a wrong query from a failure.",
        accept=DICOM_JSON,
        body=Body.ANY,
        severity=Severity.LIMITED,
        limit=8 * MIB,
        checks=(refusals.refuses(400), refusals.tells_why),
    ),
    Ask(
        client=Client.ANY,
        name="a type that there is not",
        path=f"{_INSTANCE}/metadata",
        effect="Clients cannot tell which types there are.",
        of=Kind.IMAGE,
        accept="application/x-there-is-no-such-type",
        body=Body.ANY,
        severity=Severity.LIMITED,
        limit=8 * MIB,
        checks=(refusals.not_acceptable_or_served, refusals.tells_why),
    ),
)
