"""Every file of the pydicom wheel and of the corpus: sent by C-STORE and by STOW-RS, found, got back to the byte."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import requests
from pynetdicom import build_role, evt

from tests.conformance.every_file import File, every_file
from tests.conformance.expected_outcomes import CANNOT_BE_SENT, EXPECTED, REFUSED, STORED, STUDIES
from tests.corpus import CORPUS
from tests.databases import DATABASES, Databases
from tests.served import Served
from tests.server.dimse.scu import STUDY_ROOT_FIND, STUDY_ROOT_GET, associated, identifier, store_bytes

pytestmark = [
    pytest.mark.timeout(900),
    # some of the files have UIDs that are none, and are sent all the same
    pytest.mark.filterwarnings("ignore:.*VR UI:UserWarning"),
]

_CONTEXTS = 100  # of the 128 that one association may have

Outcomes = dict[str, Counter[str]]
Place = tuple[str, str, str, str]  # study, series and SOP Instance UID, transfer syntax


@dataclass
class Sent:
    """What was sent to one server, and what became of it."""

    served: Served
    files: list[File]
    outcomes: Outcomes = field(default_factory=lambda: defaultdict(Counter))
    first: dict[str, File] = field(default_factory=dict)  # by SOP Instance UID: the one that the index shows
    session: requests.Session = field(default_factory=requests.Session)
    places: dict[str, Place] = field(default_factory=dict)

    def note(self, file: File, outcome: str) -> None:
        self.outcomes[file.category][outcome] += 1
        if outcome == STORED:
            self.first.setdefault(file.sop_instance_uid, file)

    def place(self, sop_instance_uid: str) -> Place:
        """Where QIDO-RS finds the instance, of all there are."""
        if sop_instance_uid in self.places:
            return self.places[sop_instance_uid]
        parameters = {"SOPInstanceUID": sop_instance_uid, "includefield": "all"}
        answer = self.session.get(f"{self.served.dicomweb}/instances", params=parameters, timeout=60)
        [instance] = answer.json()
        study, series, sop, syntax = (
            instance[tag]["Value"][0] for tag in ("0020000D", "0020000E", "00080018", "00083002")
        )
        self.places[sop_instance_uid] = (study, series, sop, syntax)
        return self.places[sop_instance_uid]


def send_by_c_store(sent: Sent) -> None:
    for chunk, pairs in chunks(sent.files):
        contexts = {pair: number for number, pair in enumerate(pairs)}
        with associated(sent.served.dicom_port, *((uid, [syntax]) for uid, syntax in pairs)) as association:
            ids = {
                number: context.context_id for number, context in enumerate(association.requestor.requested_contexts)
            }
            accepted = {context.context_id for context in association.accepted_contexts}
            for file in chunk:
                context_id = ids[contexts[file.sop_class_uid, file.transfer_syntax_uid]] or 0
                if context_id not in accepted:
                    sent.note(file, CANNOT_BE_SENT)  # a DICOMDIR is no composite instance
                    continue
                try:
                    response = store_bytes(
                        association, file.data_set, file.sop_class_uid, file.sop_instance_uid, context_id
                    )
                except ValueError:
                    sent.note(file, CANNOT_BE_SENT)  # pynetdicom knows no such UID
                    continue
                sent.note(file, STORED if response.Status in (0x0000, 0xB007) else REFUSED)
                if response.Status:
                    assert response.ErrorComment, file.name


def send_by_stow_rs(sent: Sent) -> None:
    headers = {"Content-Type": 'multipart/related; type="application/dicom"; boundary=part'}
    for file in sent.files:
        body = b"--part\r\nContent-Type: application/dicom\r\n\r\n" + file.path.read_bytes() + b"\r\n--part--\r\n"
        answer = sent.session.post(f"{sent.served.dicomweb}/studies", data=body, headers=headers, timeout=60)
        response = answer.json()
        stored = response.get("00081199", {}).get("Value", [])
        failed = [item for tag in ("00081198", "0008119A") for item in response.get(tag, {}).get("Value", [])]
        assert len(stored) + len(failed) == 1, (file.name, answer.text)
        assert answer.status_code == (409 if failed else 202 if "00081196" in stored[0] else 200), file.name
        sent.note(file, STORED if stored else REFUSED)


def chunks(files: list[File]) -> Iterator[tuple[list[File], list[tuple[str, str]]]]:
    """The files in turn, no more at once than one association has presentation contexts for."""
    chunk: list[File] = []
    pairs: dict[tuple[str, str], None] = {}
    for file in files:
        pair = (file.sop_class_uid, file.transfer_syntax_uid)
        if pair not in pairs and len(pairs) == _CONTEXTS:
            yield chunk, list(pairs)
            chunk, pairs = [], {}
        pairs[pair] = None
        chunk.append(file)
    yield chunk, list(pairs)


_PROTOCOLS: dict[str, Callable[[Sent], None]] = {"C-STORE": send_by_c_store, "STOW-RS": send_by_stow_rs}


@pytest.fixture(
    scope="module", params=[(kind, protocol) for kind in DATABASES for protocol in _PROTOCOLS], ids="-".join
)
def sent(
    request: pytest.FixtureRequest, databases: Databases, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Sent]:
    kind, protocol = request.param
    folder = tmp_path_factory.mktemp("every_file")
    durability = "full" if kind == "sqlite" else "relaxed"
    with (
        databases.fresh(kind, folder) as url,
        Served(folder / "data", url, FILEROOM_STORAGE__DURABILITY=durability) as served,
    ):
        # the whole studies are many and alike: one database has all of them
        files = [file for file in every_file() if kind == "sqlite" or file.category != STUDIES]
        result = Sent(served, files)
        _PROTOCOLS[protocol](result)
        yield result


def test_what_is_stored_and_what_is_refused(sent: Sent, request: pytest.FixtureRequest) -> None:
    protocol = request.node.callspec.params["sent"][1]
    here = {file.category for file in sent.files}
    assert CORPUS.is_dir() == (here >= EXPECTED[protocol].keys() - {STUDIES})
    expected = {category: EXPECTED[protocol][category] for category in here}
    assert {category: dict(counts) for category, counts in sent.outcomes.items()} == expected


def test_each_is_found_by_its_uids(sent: Sent) -> None:
    study_of_series: dict[str, str] = {}
    with associated(sent.served.dicom_port, STUDY_ROOT_FIND) as association:
        for sop_instance_uid, file in sent.first.items():
            # a series stays in the study that its first object named
            expected = study_of_series.setdefault(file.series_instance_uid, file.study_instance_uid)
            study, series, sop, _ = sent.place(sop_instance_uid)
            assert (study, series, sop) == (expected, file.series_instance_uid, sop_instance_uid)
            keys = identifier("IMAGE", StudyInstanceUID=study, SeriesInstanceUID=series, SOPInstanceUID=sop)
            answers = [answer for _, answer in association.send_c_find(keys, STUDY_ROOT_FIND) if answer]
            assert [answer.SOPInstanceUID for answer in answers] == [sop]
            path = f"/studies/{study}/series/{series}/instances"
            found = sent.session.get(sent.served.dicomweb + path, params={"00080018": sop}, timeout=60).json()
            assert [instance["00080018"]["Value"] for instance in found] == [[sop]]


def test_each_comes_back_to_the_byte_by_wado_rs(sent: Sent) -> None:
    headers = {"Accept": "application/dicom"}
    for file in sent.first.values():
        study, series, sop, _ = sent.place(file.sop_instance_uid)
        url = f"{sent.served.dicomweb}/studies/{study}/series/{series}/instances/{sop}"
        answer = sent.session.get(url, headers=headers, timeout=60)
        assert answer.status_code == 200, file.name
        assert answer.content[128:132] == b"DICM"
        assert answer.content.endswith(file.data_set), file.name


def test_each_comes_back_to_the_byte_by_c_get(sent: Sent) -> None:
    as_stored = [replace(file, transfer_syntax_uid=sent.place(uid)[3]) for uid, file in sent.first.items()]
    for chunk, pairs in chunks(as_stored):
        came: list[bytes] = []

        def keep(event: Any, came: list[bytes] = came) -> int:
            came.append(event.request.DataSet.getvalue())
            return 0x0000

        roles = [build_role(uid, scp_role=True) for uid in {uid for uid, _ in pairs}]
        contexts = [STUDY_ROOT_GET, *((uid, [syntax]) for uid, syntax in pairs)]
        handlers = [(evt.EVT_C_STORE, keep)]
        with associated(sent.served.dicom_port, *contexts, ext_neg=roles, evt_handlers=handlers) as association:
            for file in chunk:
                study, series, sop, _ = sent.place(file.sop_instance_uid)
                keys = identifier("IMAGE", StudyInstanceUID=study, SeriesInstanceUID=series, SOPInstanceUID=sop)
                *_, (status, _) = association.send_c_get(keys, STUDY_ROOT_GET)
                assert status.Status == 0x0000, (file.name, status)
                assert came == [file.data_set], file.name
                came.clear()
