"""Whoever installs fileroom installs permissively licensed software only."""

import re
from importlib.metadata import Distribution, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PERMISSIVE = re.compile(r"MIT|BSD|Apache|ISC|PSF|Zlib|CC0|HPND|Unlicense|Python Software Foundation", re.IGNORECASE)
COPYLEFT = re.compile(r"GPL|MPL|Mozilla|EUPL|EPL|CDDL|SSPL", re.IGNORECASE)


def licences(of: Distribution) -> list[str]:
    """The licences that all hold at once, as the distribution's metadata tell them."""
    told = of.metadata.get_all
    if expression := told("License-Expression"):
        return re.split(r" AND (?![^(]*\))", expression[0])
    classifiers = [name.rpartition(":: ")[2] for name in told("Classifier") or [] if "License ::" in name]
    return classifiers or [(told("License") or ["none given"])[0].partition("\n")[0]]


def required(*extras_of_fileroom: str) -> dict[str, Distribution]:
    """Every distribution that fileroom needs, directly or not; without an extra unless one is named."""
    found: dict[str, Distribution] = {}
    waiting = [("fileroom", frozenset(extras_of_fileroom))]
    while waiting:
        name, extras = waiting.pop()
        if name in found and not extras:
            continue
        found[name] = distribution(name)
        for text in found[name].requires or []:
            requirement = Requirement(text)
            wanted = requirement.marker is None or any(
                requirement.marker.evaluate({"extra": extra}) for extra in (extras or {""})
            )
            if wanted:
                waiting.append((canonicalize_name(requirement.name), frozenset(requirement.extras)))
    return found


def test_required_dependencies_are_permissively_licensed() -> None:
    found = required()
    assert {"fileroom", "pydicom", "flask", "sqlalchemy", "werkzeug", "prometheus-client"} <= set(found)
    for name, of in found.items():
        for licence in licences(of):
            assert PERMISSIVE.search(licence), f"{name}: {licence}"
            assert not COPYLEFT.search(licence), f"{name}: {licence}"


def test_of_the_tracing_extra_only_the_list_of_certificates_is_not() -> None:
    added = {name: of for name, of in required("tracing").items() if name not in required()}
    assert {"opentelemetry-sdk", "protobuf"} <= added.keys()
    not_permissive = {name for name, of in added.items() if not all(PERMISSIVE.search(one) for one in licences(of))}
    assert not_permissive == {"certifi"}


def test_the_healthimaging_extra_is_permissively_licensed() -> None:
    added = {name: of for name, of in required("healthimaging").items() if name not in required()}
    assert {"boto3", "botocore", "s3transfer"} <= added.keys()
    for name, of in added.items():
        for licence in licences(of):
            assert PERMISSIVE.search(licence), f"{name}: {licence}"
            assert not COPYLEFT.search(licence), f"{name}: {licence}"
