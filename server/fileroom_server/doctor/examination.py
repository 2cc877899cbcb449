"""The examination of a server: chooses what to ask about, replays the requests, and looks at the answers."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit, urlunsplit

from .clients import REQUESTS
from .exchange import Ask, Body, Exchange
from .findings import Client, Fault, Finding, Outcome, Result, Severity, Unusable
from .prober import TIMED_OUT, Answer, Prober, origin
from .reading import (
    data_set_of,
    data_sets_of,
    json_type_fault,
    multipart_of,
    require_status,
    single_part_of,
)
from .subjects import Chooser, Chosen, Kind, Subject
from .trial_object import quoted_multipart, quoted_multipart_type, trial_subject

# Takes how many requests are done, how many there are, and the next one's name.
Progress = Callable[[int, int, str], None]

_MOST_SILENCES = 3
_KEPT = 4 << 20
_LOST = frozenset({TIMED_OUT, "unreachable"})
_NAMES = {
    "other_study": "a second study",
    "patient_name": "a patient's name",
    "part_of_name": "a name of several words",
    "patient_id": "a Patient ID",
    "accession_number": "an accession number",
    "study_description": "a study description",
    "study_date": "a study date",
    "modality": "a modality",
    "series": "an image",
    "bulk_data_url": "bulk data",
}


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be examined, and how. `viewer_origin` is where a viewer is served, if it is not the server's own."""

    base_url: str
    clients: Collection[Client]
    study_instance_uid: str | None = None
    viewer_origin: str | None = None
    wado_url: str | None = None
    store: bool = False

    @property
    def requests(self) -> list[Ask]:
        wanted = {*self.clients, Client.ANY}
        return [ask for ask in REQUESTS if ask.client in wanted]


@dataclass(frozen=True, slots=True)
class Examination:
    """What came of it. `fatal` is why nothing else was tried; `stays` the study that storing left behind."""

    plan: Plan
    results: tuple[Result, ...]
    subjects: Mapping[Kind, Subject] = field(default_factory=dict)
    number_of_studies: int = 0
    wado_url: str | None = None
    bulk_data_origin: str | None = None
    fatal: Finding | None = None
    stays: str | None = None

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Those that stop everything first, then the worst."""
        found = [finding for result in self.results for finding in result.findings]
        found.sort(key=lambda finding: -finding.severity)
        return (self.fatal, *found) if self.fatal else tuple(found)

    @property
    def is_good(self) -> bool:
        return all(finding.severity < Severity.BREAKS for finding in self.findings)

    def result(self, client: Client, request: str) -> Result | None:
        return next((r for r in self.results if (r.client, r.request) == (client, request)), None)

    def works(self, client: Client, request: str) -> bool | None:
        """Whether the request had a usable answer; None where it was not tried."""
        result = self.result(client, request)
        if result is None or result.outcome is Outcome.NOT_TRIED:
            return None
        return not any(finding.code not in _HARMLESS for finding in result.findings)


SLOW = "slow"
_HARMLESS = frozenset({SLOW, "attribute-missing", "not-compressed", "bulk-data-elsewhere", "part-header-order"})


def examine(plan: Plan, prober: Prober, progress: Progress) -> Examination:
    """Every request of the plan, once; ends early where a server does not answer any more."""
    return _Examiner(plan, prober, progress).examine()


class _Examiner:
    def __init__(self, plan: Plan, prober: Prober, progress: Progress) -> None:
        self._plan = plan
        self._prober = prober
        self._progress = progress
        self._answers: dict[tuple[str, str, tuple[tuple[str, str], ...]], Answer | Unusable] = {}
        self._exchanges: dict[Client, dict[str, Exchange]] = {}
        self._subjects: dict[Kind, Subject] = {}
        self._silences = 0

    def examine(self) -> Examination:
        plan = self._plan
        requests = plan.requests
        self._progress(0, len(requests), "choosing studies")
        try:
            chosen = self._choose(requests)
        except Unusable as error:
            return self._without_list(requests, error.fault)
        self._subjects |= chosen.subjects
        wado_url = self._wado_url()
        results = []
        for number, ask in enumerate(requests):
            self._progress(number, len(requests), f"{ask.client}: {ask.name}")
            results.append(self._result(ask, wado_url))
        self._progress(len(requests), len(requests), "")
        stays = self._remove_trial() if plan.store else None
        return Examination(
            plan=plan,
            results=tuple(_without_what_settings_mend(results)),
            subjects=self._subjects,
            number_of_studies=chosen.number_of_studies,
            wado_url=wado_url,
            bulk_data_origin=self._bulk_data_origin(chosen),
            stays=stays,
        )

    def _choose(self, requests: list[Ask]) -> Chosen:
        """What to ask about; on an empty server what is stored for trial, where that is allowed."""
        plan, kinds = self._plan, {ask.of for ask in requests}
        chosen = Chooser(self._prober, plan.base_url, kinds, plan.study_instance_uid).choose()
        if chosen.number_of_studies or not plan.store:
            return chosen
        subject = self._subjects[Kind.STORED] = trial_subject()
        headers = {"Accept": "*/*", "Content-Type": quoted_multipart_type()}
        url, content = f"{plan.base_url}/studies", quoted_multipart(subject)
        self._prober.send("POST", url, headers, limit=1 << 20, body=content)
        return Chooser(self._prober, plan.base_url, kinds, subject.values["study"]).choose()

    def _without_list(self, requests: list[Ask], fault: Fault) -> Examination:
        url = f"{self._plan.base_url}/studies"
        effect = "No viewer can list or open anything."
        fatal = Finding(
            fault.code, Severity.BREAKS, Client.ANY, "list of studies", "GET", url, fault.what, effect, fault.advice
        )
        reason = "there is no list of studies to choose from"
        nothing = Subject(Kind.ANY, {})
        results = tuple(
            Result(ask.client, ask.name, ask.method, ask.shown_url(self._plan.base_url, nothing), None, (), reason)
            for ask in requests
        )
        return Examination(plan=self._plan, results=results, fatal=fatal)

    def _result(self, ask: Ask, wado_url: str) -> Result:
        subject, reason = self._subject(ask)
        subject = replace(subject, values={**subject.values, "wado_url": wado_url})
        if self._plan.viewer_origin is not None and "Origin" in ask.headers:
            ask = replace(ask, headers={**ask.headers, "Origin": self._plan.viewer_origin})
        shown = ask.shown_url(self._plan.base_url, subject)
        url = ask.url(self._plan.base_url, subject)
        if reason is None and url is None:
            lacking = ask.missing(subject)[0]
            reason = f"needs {_NAMES.get(lacking, 'a study')}, and there is none"
        if reason is None and self._silences >= _MOST_SILENCES:
            reason = "the server did not answer any more"
        if reason is not None or url is None:
            return Result(ask.client, ask.name, ask.method, shown, None, (), reason)
        answer = self._answer(ask, url, subject)
        faults = list(self._faults(ask, subject, answer))
        seconds = answer.seconds if isinstance(answer, Answer) else None
        findings = tuple(_finding(ask, shown, fault) for fault in faults)
        return Result(ask.client, ask.name, ask.method, shown, seconds, findings)

    def _subject(self, ask: Ask) -> tuple[Subject, str | None]:
        nothing = Subject(ask.of, {})
        if ask.of is Kind.STORED:
            if not self._plan.store:
                return nothing, "needs --store"
            if ask.method == "POST":
                earlier = self._subjects.get(Kind.STORED)
                self._subjects[Kind.STORED] = trial_subject(earlier.values["study"] if earlier else None)
            return self._subjects[Kind.STORED], None
        if ask.of in self._subjects or ask.of is Kind.ANY:
            return self._subjects.get(ask.of, nothing), None
        return nothing, f"no {ask.of} was found" if Kind.ANY in self._subjects else "the server has no study"

    def _answer(self, ask: Ask, url: str, subject: Subject) -> Answer | Unusable:
        headers = {**({"Accept": ask.accept} if ask.accept else {}), **ask.headers}
        key = (ask.method, url, tuple(sorted(headers.items())))
        if key in self._answers:
            return self._answers[key]
        answer: Answer | Unusable
        try:
            content = ask.content(subject) if ask.content else None
            answer = self._prober.send(ask.method, url, headers, limit=ask.limit, body=content)
            self._silences = 0
        except Unusable as error:
            answer = error
            self._silences += error.fault.code in _LOST and origin(url) == origin(self._plan.base_url)
        if ask.method == "GET" and (isinstance(answer, Unusable) or len(answer.body) <= _KEPT):
            self._answers[key] = answer
        return answer

    def _faults(self, ask: Ask, subject: Subject, answer: Answer | Unusable) -> Iterator[Fault]:
        if isinstance(answer, Unusable):
            yield answer.fault
            return
        earlier = self._exchanges.setdefault(ask.client, {})
        exchange = Exchange(ask, subject, self._plan.base_url, answer, earlier, self._plan.viewer_origin)
        try:
            yield from _read(exchange)
            for check in ask.checks:
                yield from check(exchange)
        except Unusable as error:
            yield error.fault
        if answer.seconds > ask.slow_after:
            yield Fault(
                SLOW,
                f"the answer took {answer.seconds:.1f} s ({len(answer.body) / 1e6:,.1f} MB)",
                "See what the server, its database and the network do in that time.",
                Severity.SLOW,
                "Who looks at images waits.",
            )
        if len(answer.body) <= _KEPT:
            earlier[ask.name] = exchange

    def _wado_url(self) -> str:
        """Where WADO-URI is: nobody tells, so the usual places are tried."""
        if self._plan.wado_url:
            return self._plan.wado_url
        base_url = self._plan.base_url
        candidates = (f"{base_url.rpartition('/')[0]}/wado", f"{base_url}/wado")
        image = self._subjects.get(Kind.IMAGE)
        if image is None or not urlsplit(base_url).path.strip("/"):
            return candidates[1]
        values = image.values
        query = (
            f"?requestType=WADO&studyUID={values['study']}&seriesUID={values['series']}"
            f"&objectUID={values['instance']}&contentType=application/dicom"
        )
        for candidate in candidates:
            try:
                if self._prober.send("GET", candidate + query, {"Accept": "*/*"}, limit=1024).status == 200:
                    return candidate
            except Unusable:
                pass
        return candidates[0]

    def _bulk_data_origin(self, chosen: Chosen) -> str | None:
        """The origin that BulkDataURIs wrongly begin with, where the server's own would serve them."""
        subject = chosen.subjects.get(Kind.BULK_DATA)
        url = subject.values["bulk_data_url"] if subject else self._plan.base_url
        if origin(url) == origin(self._plan.base_url):
            return None
        theirs, ours = urlsplit(url), urlsplit(self._plan.base_url)
        moved = urlunsplit((ours.scheme, ours.netloc, theirs.path, theirs.query, ""))
        for candidate, is_right in ((url, True), (moved, False)):
            try:
                status = self._prober.send("GET", candidate, {"Accept": "application/octet-stream"}, limit=1024).status
            except Unusable:
                continue
            if status == 200:
                return None if is_right else f"{theirs.scheme}://{theirs.netloc}"
        return None

    def _remove_trial(self) -> str | None:
        """Deletes what was stored for trial; the study that stays where that cannot be done."""
        subject = self._subjects.get(Kind.STORED)
        if subject is None:
            return None
        study = subject.values["study"]
        url = f"{self._plan.base_url}/studies/{study}"
        try:
            answer = self._prober.send("DELETE", url, {"Accept": "*/*"}, limit=1 << 20)
            found = self._prober.send("GET", f"{url}/metadata", {"Accept": "application/dicom+json"}, limit=1 << 20)
        except Unusable:
            return study
        return None if found.status in (404, 410) or (answer.status < 300 and found.status == 204) else study


def _without_what_settings_mend(results: list[Result]) -> Iterator[Result]:
    """OHIF can quote the parameters of Accept: a server that wants that only limits it."""
    quoted = any(r.request == "frame, quoted Accept" and r.outcome is Outcome.PASSED for r in results)
    for result in results:
        if quoted and (result.client, result.request) == (Client.OHIF, "frame"):
            effect = (
                "Images stay black unless omitQuotationForMultipartRequest is false, as in the configuration below."
            )
            mended = (
                replace(finding, severity=Severity.LIMITED, effect=effect)
                if finding.severity is Severity.BREAKS and finding.code.startswith("status-")
                else finding
                for finding in result.findings
            )
            result = replace(result, findings=tuple(mended))  # noqa: PLW2901  # the same one
        yield result


def _read(exchange: Exchange) -> Iterator[Fault]:
    """Reads the answer as the client does. Raises Unusable."""
    ask, answer = exchange.ask, exchange.answer
    if ask.body is Body.DATA_SETS:
        exchange.data_sets = data_sets_of(answer, ask.statuses)
        fault = json_type_fault(answer)
        if fault is not None:
            yield fault
    elif ask.body is Body.STORE_RESPONSE:
        exchange.data_sets = [data_set_of(answer, ask.statuses)]
    elif ask.body is Body.PARTS:
        exchange.parts = multipart_of(answer, ask.statuses)
    elif ask.body is Body.SINGLE:
        single_part_of(answer, ask.statuses)
    elif ask.body is Body.EITHER:
        require_status(answer, ask.statuses)
        if answer.media_type == "multipart/related":
            exchange.parts = multipart_of(answer, ask.statuses)
    elif answer.status in (401, 403) and ask.method != "OPTIONS":
        require_status(answer, ask.statuses)


def _finding(ask: Ask, url: str, fault: Fault) -> Finding:
    return Finding(
        code=fault.code,
        severity=ask.severity if fault.severity is None else fault.severity,
        client=ask.client,
        request=ask.name,
        method=ask.method,
        url=url,
        what=fault.what,
        effect=fault.effect or ask.effect,
        advice=fault.advice,
        accept=ask.accept,
    )
