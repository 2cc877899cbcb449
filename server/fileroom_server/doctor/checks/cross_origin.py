"""Requests of web pages from another origin (CORS, https://fetch.spec.whatwg.org/#http-cors-protocol)."""

from collections.abc import Iterator

from ..exchange import Exchange
from ..findings import Fault, Severity

_ADVICE = (
    "Allow the origin of the viewer (fileroom: cors_origins in [http]), or serve viewer and DICOMweb from one origin."
)


def _fault(exchange: Exchange, code: str, what: str) -> Fault:
    """Breaks the viewer that --origin tells of; without one it is only good to know."""
    if exchange.viewer_origin is not None:
        effect = f"The browser refuses the answers to the viewer at {exchange.viewer_origin}."
        return Fault(code, what, _ADVICE, Severity.BREAKS, effect)
    return Fault(
        code,
        what,
        _ADVICE + " --origin https://viewer.example.org asks for a certain one.",
        Severity.NOTE,
        "A viewer that is served from elsewhere could not use this server.",
    )


def allows_the_origin(exchange: Exchange) -> Iterator[Fault]:
    allowed = exchange.answer.headers.get("Access-Control-Allow-Origin")
    if allowed is None:
        yield _fault(exchange, "cors", "the answer has no Access-Control-Allow-Origin header")
    elif allowed not in ("*", exchange.ask.headers.get("Origin"), exchange.viewer_origin):
        yield _fault(exchange, "cors", "the answer allows another origin than the one that asks")


def preflight_allows(exchange: Exchange) -> Iterator[Fault]:
    answer = exchange.answer
    if answer.status >= 300:
        yield _fault(exchange, "cors-preflight", f"the preflight request (OPTIONS) is answered {answer.status}")
        return
    faults = list(allows_the_origin(exchange))
    yield from faults
    allowed = {name.strip().lower() for name in answer.headers.get("Access-Control-Allow-Headers", "").split(",")}
    missing = [name for name in ("accept", "authorization") if name not in allowed and "*" not in allowed]
    # "*" does not stand for Authorization
    if "*" in allowed and "authorization" not in allowed:
        missing = ["authorization"]
    if missing and not faults:
        yield _fault(exchange, "cors-headers", f"the preflight answer does not allow the headers {', '.join(missing)}")
