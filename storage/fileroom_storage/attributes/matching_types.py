"""Which matching types of PS3.4 C.2.2.2 an attribute takes, in words: for those that describe a service."""

from .attribute import Attribute

_RANGE_VRS = frozenset({"DA", "TM", "DT"})
_WILD_CARD_VRS = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})


def matching_types(attribute: Attribute) -> tuple[str, ...]:
    """Besides universal matching, which all take."""
    if attribute.vr == "SQ":
        return ("sequence",)
    if attribute.vr in _RANGE_VRS:
        return ("single value", "range")
    if attribute.vr == "UI":
        return ("list of UID",)
    wild_card = ("wild card",) if attribute.vr in _WILD_CARD_VRS else ()
    return ("single value", "multiple values", *wild_card)
