"""What a service's fields must look like. Each raises InvalidService, in words for its sender.

They also keep out what a database refuses: PostgreSQL takes no NUL, neither takes lone surrogates,
and SQLite's JSON has a greatest depth.
"""

import json
import math
import re
from typing import Any, Final

from django.conf import settings

from services_registry.errors import InvalidService
from services_registry.keys import MAX_KEY_LENGTH, MIN_KEY_LENGTH
from services_registry.models import NAME_PATTERN

MAX_TYPE_LENGTH: Final = 64
MAX_DESCRIPTION_LENGTH: Final = 1000
#: As JSON. It travels with every message that the service sends.
MAX_METADATA_BYTES: Final = 16_384
MAX_METADATA_DEPTH: Final = 16


def is_name(name: str) -> bool:
    return re.match(NAME_PATTERN, name) is not None


def check_name(name: str) -> None:
    if not is_name(name):
        raise InvalidService("serviceName: expected 1 to 64 of a-z, 0-9, - and _")


def check_key(key: str) -> None:
    if not MIN_KEY_LENGTH <= len(key) <= MAX_KEY_LENGTH or not _is_text(key):
        raise InvalidService(
            f"serviceKey: expected {MIN_KEY_LENGTH} to {MAX_KEY_LENGTH} characters"
        )


def check_environment_key(key: str) -> None:
    """Any length that can authenticate: the deployment's own keys may be short."""
    if not 1 <= len(key) <= MAX_KEY_LENGTH or not _is_text(key):
        raise InvalidService(f"serviceKey: expected at most {MAX_KEY_LENGTH} characters")


def check_type(service_type: str) -> None:
    """Whether it is one at all; `check_type_is_allowed` is for those that may choose."""
    if not 1 <= len(service_type) <= MAX_TYPE_LENGTH or not service_type.isprintable():
        raise InvalidService(f"serviceType: expected 1 to {MAX_TYPE_LENGTH} printable characters")


def check_type_is_allowed(service_type: str) -> None:
    check_type(service_type)
    allowed = settings.ALLOWED_SERVICE_TYPES
    if allowed and service_type not in allowed:
        raise InvalidService(f"serviceType: expected one of {', '.join(allowed)}")


def check_description(description: str) -> None:
    if len(description) > MAX_DESCRIPTION_LENGTH or not _is_text(description):
        raise InvalidService(f"description: expected at most {MAX_DESCRIPTION_LENGTH} characters")


def check_metadata(metadata: Any) -> None:
    if not isinstance(metadata, dict) or not _is_json(metadata):
        raise InvalidService(
            f"metadata: expected a JSON object, at most {MAX_METADATA_DEPTH} levels deep"
        )
    if len(json.dumps(metadata, ensure_ascii=False).encode()) > MAX_METADATA_BYTES:
        raise InvalidService(f"metadata: expected at most {MAX_METADATA_BYTES} bytes")


def _is_json(value: Any, depth: int = 1) -> bool:
    match value:
        case dict():
            return depth <= MAX_METADATA_DEPTH and all(
                isinstance(name, str) and _is_text(name) and _is_json(member, depth + 1)
                for name, member in value.items()
            )
        case list():
            return depth <= MAX_METADATA_DEPTH and all(_is_json(item, depth + 1) for item in value)
        case str():
            return _is_text(value)
        case int():
            # A longer one would be a mistake, and Python itself does not print any length.
            return value.bit_length() <= 64
        case float():
            return math.isfinite(value)
        case _:
            return value is None


def _is_text(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)
