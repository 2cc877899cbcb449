"""What every section of the configuration is: frozen, and without keys that nobody knows."""

import json
from contextlib import suppress

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """Errors in it never quote a value, which may be a secret."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


def separated_by_commas(value: object) -> object:
    """A list may be one line, as environment variables have it; there it may be JSON too, as every other list."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        with suppress(ValueError):
            return json.loads(value)
    return [part.strip() for part in value.split(",") if part.strip()]
