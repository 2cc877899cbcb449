"""What an examination came to, for people: a table, what is wrong and where, and what to do."""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import orjson
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from fileroom_server.output import is_terminal, printable, write_line

from .clients.media_types import DICOM_JSON
from .examination import Examination
from .findings import Client, Finding, Outcome, Severity
from .subjects import Kind
from .viewer_configuration import ohif_data_source

_STYLES = {
    Outcome.PASSED: "green",
    Outcome.SLOW: "yellow",
    Outcome.LIMITED: "yellow",
    Outcome.BREAKS: "bold red",
    Outcome.NOT_TRIED: "dim",
}
_MOST_PLACES = 2
_MARKS = {Severity.BREAKS: "✗", Severity.LIMITED: "!", Severity.SLOW: "…", Severity.NOTE: "·"}
_SEVERITY_STYLES = {
    Severity.BREAKS: "bold red",
    Severity.LIMITED: "yellow",
    Severity.SLOW: "yellow",
    Severity.NOTE: "dim",
}
_WORDS = {
    Severity.BREAKS: "would break",
    Severity.LIMITED: "limited",
    Severity.SLOW: "slow",
    Severity.NOTE: "note",
}


def write_report(examination: Examination, *, verbose: bool) -> None:
    """To standard output: coloured on a terminal, plain lines in a pipe."""
    if is_terminal(sys.stdout):
        _write_for_terminal(examination, verbose=verbose)
    else:
        for line in _plain(examination, verbose=verbose):
            write_line(line)


def write_configurations(examination: Examination, made: dict[str, str]) -> None:
    """Ready configurations; of OHIF's the part that is about this server."""
    source = orjson.dumps(ohif_data_source(examination), option=orjson.OPT_INDENT_2).decode()
    for title, text in (
        ("OHIF, `configuration` of the data source; --config-for ohif writes a whole app-config.js", source),
        ("Weasis, --config-for weasis", made["weasis"].rstrip("\n")),
        ("dicomweb-client, --config-for dicomweb-client", made["dicomweb-client"].rstrip("\n")),
    ):
        write_line("")
        if is_terminal(sys.stdout):
            Console(highlight=False).print(Text(title, "bold"))
        else:
            write_line(f"{title}:")
        write_line(text)


def document(examination: Examination, configurations: dict[str, str]) -> dict[str, Any]:
    """The same for programs."""
    plan = examination.plan
    return {
        "url": plan.base_url,
        "good": examination.is_good,
        "studies_listed": examination.number_of_studies,
        "subjects": {
            kind.value: {level: subject.values[level] for level in ("study", "series", "instance")}
            for kind, subject in examination.subjects.items()
            if "instance" in subject.values
        },
        "requests": [
            {
                "client": result.client.value,
                "request": result.request,
                "method": result.method,
                "url": result.url,
                "outcome": result.outcome.value,
                "seconds": None if result.seconds is None else round(result.seconds, 3),
                "reason": result.reason,
            }
            for result in examination.results
        ],
        "findings": [
            {
                "code": finding.code,
                "severity": _WORDS[finding.severity],
                "client": finding.client.value,
                "request": finding.request,
                "method": finding.method,
                "url": finding.url,
                "accept": finding.accept,
                "what": finding.what,
                "effect": finding.effect,
                "advice": finding.advice,
            }
            for finding in examination.findings
        ],
        "stays": examination.stays,
        "configurations": configurations,
    }


def _counts(examination: Examination) -> Iterator[tuple[Client, Counter[Outcome]]]:
    for client in Client:
        outcomes = Counter(result.outcome for result in examination.results if result.client is client)
        if outcomes:
            yield client, outcomes


def _alike(findings: Iterable[Finding]) -> Iterator[list[Finding]]:
    """Findings that are one to who reads them: the same fault with the same effect, seen in several requests."""
    groups: dict[tuple[Severity, str, str, str, str], list[Finding]] = {}
    for finding in findings:
        key = (finding.severity, finding.code, finding.what, finding.effect, finding.advice)
        groups.setdefault(key, []).append(finding)
    yield from groups.values()


def _tried_with(examination: Examination) -> str:
    kinds = [kind for kind in Kind if kind in examination.subjects and kind not in (Kind.ANY, Kind.STORED)]
    listed = "1 study" if examination.number_of_studies == 1 else f"{examination.number_of_studies:,} studies"
    return f"{listed} listed; tried with: {', '.join(kinds) or 'nothing'}"


def _verdict(examination: Examination) -> str:
    if examination.fatal:
        return "It cannot be examined."
    findings = examination.findings
    if not examination.is_good:
        broken = {finding.client.value for finding in findings if finding.severity is Severity.BREAKS}
        return f"Something would break: {', '.join(sorted(broken))}."
    if any(finding.severity > Severity.NOTE for finding in findings):
        return "Nothing would break; something is limited or slow."
    return "Everything that was tried works."


def _closing(examination: Examination) -> Iterator[str]:
    if not examination.fatal and not examination.subjects:
        yield "It has no study to try with. Store one, or let --store put a tiny one there for the trial."
    if examination.stays:
        yield f"The study stored for trial could not be deleted and stays: {examination.stays}"


def _write_for_terminal(examination: Examination, *, verbose: bool) -> None:
    console = Console(highlight=False)
    console.print(Text.assemble(("DICOMweb at ", "bold"), (printable(examination.plan.base_url), "bold cyan")))
    if not examination.fatal:
        console.print(Text(_tried_with(examination), "dim"))
    console.print()
    console.print(_table(examination))
    for group in _alike(examination.findings):
        console.print()
        _print_group(console, group, examination.plan.base_url, verbose=verbose)
    if verbose:
        console.print()
        console.print(_all_requests(examination))
    console.print()
    style = "bold green" if examination.is_good else "bold red"
    console.print(Text(_verdict(examination), style))
    for line in _closing(examination):
        console.print(Text(line, "yellow"))


def _table(examination: Examination) -> Table:
    table = Table("Client", box=None, padding=(0, 2, 0, 0), header_style="bold")
    for outcome in Outcome:
        table.add_column(outcome.value, justify="right")
    for client, outcomes in _counts(examination):
        cells = [
            Text(str(outcomes[outcome] or "–"), _STYLES[outcome] if outcomes[outcome] else "dim") for outcome in Outcome
        ]
        table.add_row(client.value, *cells)
    return table


def _print_group(console: Console, group: list[Finding], base_url: str, *, verbose: bool) -> None:
    first = group[0]
    mark = (f"{_MARKS[first.severity]} ", _SEVERITY_STYLES[first.severity])
    console.print(Text.assemble(mark, (printable(first.what), "bold"), "  ", (first.code, "dim")))
    lines = Table.grid(padding=(0, 1))
    lines.add_column(style="dim", no_wrap=True)
    lines.add_column(overflow="fold")
    lines.add_row("effect", Text(first.effect))
    lines.add_row("do", Text(first.advice))
    for finding in group if verbose else group[:_MOST_PLACES]:
        lines.add_row("where", Text(f"{finding.client}: {finding.request}"))
        if verbose or finding.severity > Severity.NOTE:
            lines.add_row("", Text(_place(finding, base_url), "cyan"))
            if finding.accept not in (None, "*/*", DICOM_JSON):
                lines.add_row("", Text(f"Accept: {finding.accept}", "dim"))
    others = group[_MOST_PLACES:] if not verbose else []
    if others:
        lines.add_row("and", Text(", ".join(f"{finding.client}: {finding.request}" for finding in others)))
    console.print(Padding(lines, (0, 0, 0, 2)))


def _place(finding: Finding, base_url: str) -> str:
    """The URL without what stands above all of them, and the method where it is not the usual one."""
    method = "" if finding.method == "GET" else f"{finding.method} "
    return method + printable(finding.url.removeprefix(base_url))


def _all_requests(examination: Examination) -> Table:
    table = Table("Client", "Request", "Outcome", "Seconds", box=None, padding=(0, 2, 0, 0), header_style="bold")
    for result in examination.results:
        seconds = "" if result.seconds is None else f"{result.seconds:.2f}"
        outcome = Text(result.outcome.value, _STYLES[result.outcome])
        if result.reason:
            outcome.append(f": {result.reason}", "dim")
        table.add_row(result.client.value, result.request, outcome, seconds)
    return table


def _plain(examination: Examination, *, verbose: bool) -> Iterator[str]:
    yield f"DICOMweb at {printable(examination.plan.base_url)}"
    if not examination.fatal:
        yield _tried_with(examination)
    yield ""
    headings = [outcome.value for outcome in Outcome]
    yield f"{'Client':<16}" + "".join(f"{heading:>13}" for heading in headings)
    for client, outcomes in _counts(examination):
        yield f"{client.value:<16}" + "".join(f"{outcomes[outcome] or '-':>13}" for outcome in Outcome)
    for group in _alike(examination.findings):
        yield ""
        yield f"{_WORDS[group[0].severity]}: {printable(group[0].what)} [{group[0].code}]"
        yield f"  effect: {group[0].effect}"
        yield f"  do:     {group[0].advice}"
        for finding in group:
            accept = f" (Accept: {finding.accept})" if finding.accept else ""
            yield f"  where:  {finding.client}: {finding.request}: {finding.method} {printable(finding.url)}{accept}"
    if verbose:
        yield ""
        for result in examination.results:
            seconds = "" if result.seconds is None else f"{result.seconds:.2f} s"
            yield "\t".join((result.client, result.request, result.outcome, seconds, result.reason or ""))
    yield ""
    yield _verdict(examination)
    yield from _closing(examination)
