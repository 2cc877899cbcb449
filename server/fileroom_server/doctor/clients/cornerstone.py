"""cornerstone: its image loaders for WADO-RS and WADO-URI (packages/dicomImageLoader), with their own settings."""

from ..checks import cross_origin, pixels
from ..exchange import MIB, Ask, Body
from ..findings import Client, Severity
from ..subjects import Kind
from .media_types import FRAMES

_INSTANCE = "/studies/{study}/series/{series}/instances/{instance}"
# for where no --origin was given
ELSEWHERE = "https://viewer.example.org"
_FRAME_CHECKS = (pixels.parts(1), pixels.part_heads, pixels.transfer_syntax_told, pixels.frames_decode)

REQUESTS: tuple[Ask, ...] = (
    Ask(
        client=Client.CORNERSTONE,
        name="frame",
        path=f"{_INSTANCE}/frames/1",
        effect="Images stay black.",
        of=Kind.IMAGE,
        accept=FRAMES,
        body=Body.PARTS,
        statuses=(200, 206),
        limit=64 * MIB,
        checks=_FRAME_CHECKS,
    ),
    Ask(
        client=Client.CORNERSTONE,
        name="first frame of many",
        path=f"{_INSTANCE}/frames/1",
        effect="Cine loops, slides and enhanced images stay black.",
        of=Kind.MULTI_FRAME,
        accept=FRAMES,
        body=Body.PARTS,
        statuses=(200, 206),
        limit=64 * MIB,
        checks=_FRAME_CHECKS,
    ),
    Ask(
        client=Client.CORNERSTONE,
        name="last frame of many",
        path=f"{_INSTANCE}/frames/{{frames}}",
        effect="Cine loops, slides and enhanced images stop in the middle.",
        of=Kind.MULTI_FRAME,
        accept=FRAMES,
        body=Body.PARTS,
        statuses=(200, 206),
        limit=64 * MIB,
        checks=_FRAME_CHECKS,
    ),
    Ask(
        client=Client.CORNERSTONE,
        name="object by WADO-URI",
        path="{wado_url}",
        query="requestType=WADO&studyUID={study}&seriesUID={series}&objectUID={instance}"
        "&contentType=application%2Fdicom",
        effect="Images by wadouri: cannot be loaded; wadors: does without.",
        of=Kind.IMAGE,
        accept="*/*",
        body=Body.SINGLE,
        statuses=(200,),
        severity=Severity.NOTE,
        limit=64 * MIB,
    ),
    Ask(
        client=Client.CORNERSTONE,
        name="permission for another origin",
        path=f"{_INSTANCE}/frames/1",
        method="OPTIONS",
        effect="A viewer from elsewhere cannot load images.",
        of=Kind.IMAGE,
        accept="*/*",
        headers={
            "Origin": ELSEWHERE,
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "accept,authorization",
        },
        body=Body.ANY,
        severity=Severity.NOTE,
        checks=(cross_origin.preflight_allows,),
    ),
    Ask(
        client=Client.CORNERSTONE,
        name="frame for another origin",
        path=f"{_INSTANCE}/frames/1",
        effect="A viewer from elsewhere cannot load images.",
        of=Kind.IMAGE,
        accept=FRAMES,
        headers={"Origin": ELSEWHERE},
        body=Body.ANY,
        severity=Severity.NOTE,
        limit=64 * MIB,
        checks=(cross_origin.allows_the_origin,),
    ),
)
