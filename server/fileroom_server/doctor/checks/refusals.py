"""How a server says no: clients decide by the status, people by the text."""

from collections.abc import Iterator

from ..exchange import Check, Exchange
from ..findings import Fault, Severity


def refuses(*statuses: int) -> Check:
    """One of these statuses; a success is told as such, for it hides the mistake of who asks."""

    def check(exchange: Exchange) -> Iterator[Fault]:
        status = exchange.answer.status
        if status in statuses:
            return
        wanted = " or ".join(str(status) for status in statuses)
        if status >= 500:
            yield Fault(
                "server-error",
                f"status {status} for what the client did wrong, instead of {wanted}",
                "A 5xx makes clients try again and operators search; answer 4xx (PS3.18 8.5).",
            )
        else:
            yield Fault(
                "refusal", f"status {status} instead of {wanted}", "Answer the status that tells what is wrong."
            )

    return check


def tells_why(exchange: Exchange) -> Iterator[Fault]:
    if exchange.answer.status >= 400 and not exchange.answer.body.strip():
        yield Fault(
            "refusal-without-text",
            f"status {exchange.answer.status} came without a body",
            "Say in the body what is wrong and what can be had (PS3.18 8.5.3, RFC 9457).",
            Severity.NOTE,
            "Nobody learns what to change.",
        )


def not_acceptable_or_served(exchange: Exchange) -> Iterator[Fault]:
    """RFC 9110 12.4.1 lets a server ignore Accept."""
    if exchange.answer.status == 200:
        yield Fault(
            "accept-ignored",
            f"{exchange.answer.media_type} came though Accept names only a type that there is not",
            "Answer 406; clients then do not take one thing for another.",
            Severity.NOTE,
        )
    elif exchange.answer.status != 406:
        yield from refuses(406)(exchange)


def nothing_found(exchange: Exchange) -> Iterator[Fault]:
    if exchange.data_sets:
        yield Fault(
            "filter-ignored",
            f"{len(exchange.data_sets)} studies came for the UID of none",
            "Apply the filter by Study Instance UID.",
        )
