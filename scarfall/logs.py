"""Logs: readable lines on stderr, JSON lines in LOG_DIR, one file for each process.

What clients name, as users, services, origins and paths, may be in a line; what a terminal would
obey in it, or what would begin another line, is spelled out.
"""

from __future__ import annotations

import logging.config
import re
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from scarfall.variable import BadVariable

# structlog imports both where it finds them, for ways of rendering that are not ours: a sixth of
# all the CPU that the start of a gateway process takes.
_UNWANTED = {"rich", "twisted"} - sys.modules.keys()
sys.modules |= dict.fromkeys(_UNWANTED)  # type: ignore[arg-type]  # None: it is not there
import structlog  # noqa: E402

for _name in _UNWANTED:
    del sys.modules[_name]

if TYPE_CHECKING:
    from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

# Tokens come in query strings, subprotocols and headers, and libraries log those.
_SECRET = re.compile(
    r"(?i)(?P<name>\b(?:token|auth|authorization|password|secret|servicekey)=)[^&\s\"'\\]+"
    r"|(?P<jwt>\beyJ[\w-]+\.[\w-]+\.)[\w-]+"
)

_SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.PositionalArgumentsFormatter(),
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
]


def mask_secrets(_logger: WrappedLogger, _method: str, line: Any) -> Any:
    """The last processor: whatever the line was made of, no token leaves with it."""
    return _SECRET.sub(lambda match: f"{match['name'] or match['jwt']}***", line)


def drop_extras(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Uvicorn gives its messages twice, once with escape codes; Django gives the whole request,
    under the name of our own requests' ids.
    """
    event.pop("color_message", None)
    event.pop("request", None)
    return event


#: The only texts of several lines. None of them is a client's: see `format_exception`.
_OF_LINES: Final = ("exception", "stack")


def spell_out(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The last before a line is rendered: plain values only, and no control character in them."""
    for name, value in event.items():
        if name in _OF_LINES:
            event[name] = "\n".join(map(spelled, str(value).split("\n")))
        else:
            event[name] = _plain(value)
    return event


def spelled(text: str) -> str:
    """The text with all that is not to be seen as an escape: control characters and escape codes,
    line ends of every kind, directions of writing, lone surrogates.
    """
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def _plain(value: Any) -> Any:
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return spelled(value)
        case Mapping():
            return {spelled(str(name)): _plain(each) for name, each in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_plain(each) for each in value]
    return spelled(repr(value))


def format_exception(exc_info: ExcInfo) -> str:
    """A trace without local variables, which are tokens, keys and messages. An exception's message
    stays on its line: it may quote what a client sent, which would look like another log line.
    """
    kind, error, trace = exc_info
    whole = traceback.TracebackException(kind, error, trace)
    _spell_notes(whole)
    parts = (part.strip("\n") for part in whole.format())
    return "\n".join(
        part if part.lstrip(" |+-").startswith('File "') else spelled(part) for part in parts
    )


def _spell_notes(error: traceback.TracebackException) -> None:
    """They alone are cut into lines before we see them."""
    if notes := getattr(error, "__notes__", None):
        error.__notes__ = [spelled(str(note)) for note in notes]
    for other in (error.__cause__, error.__context__, *(error.exceptions or ())):
        if other is not None:
            _spell_notes(other)


def config(log_dir: Path, process: str, console_level: str, file_level: str) -> dict[str, Any]:
    """Django's LOGGING; `configure` below applies it."""
    foreign = [structlog.stdlib.ExtraAdder(), drop_extras, *_SHARED]
    readied = [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.ExceptionRenderer(format_exception),
        spell_out,
    ]
    levels = logging.getLevelNamesMapping()
    # What no handler takes is not made at all.
    lowest = min(console_level, file_level, key=lambda name: levels[name.upper()]).upper()
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "console": {
                "()": "structlog.stdlib.ProcessorFormatter",
                "foreign_pre_chain": foreign,
                "processors": [
                    *readied,
                    structlog.dev.ConsoleRenderer(
                        colors=sys.stderr.isatty(),
                        exception_formatter=structlog.dev.plain_traceback,
                    ),
                    mask_secrets,
                ],
            },
            "json": {
                "()": "structlog.stdlib.ProcessorFormatter",
                "foreign_pre_chain": foreign,
                "processors": [
                    *readied,
                    structlog.processors.EventRenamer("message"),
                    structlog.processors.JSONRenderer(),
                    mask_secrets,
                ],
            },
        },
        "handlers": {
            "console": {
                "class": "logging.StreamHandler",
                "formatter": "console",
                "level": console_level,
            },
            "file": {
                "class": "logging.handlers.RotatingFileHandler",
                "filename": str(log_dir / f"{process}.log"),
                "maxBytes": 10_000_000,
                "backupCount": 5,
                "encoding": "utf-8",
                "delay": True,
                "formatter": "json",
                "level": file_level,
            },
        },
        # A library at debug may log what it carries: frames, with tokens and messages in them.
        "root": {"handlers": ["console", "file"], "level": "INFO" if lowest == "DEBUG" else lowest},
        "loggers": {
            **{name: {"level": lowest} for name in ("gateways", "scarfall", "services_registry")},
            # At info they hold paths with their query strings, and a line for each connection.
            "uvicorn.error": {"level": "WARNING"},
            "uvicorn.access": {"level": "CRITICAL", "propagate": False},
            # Chatter of libraries, at debug or at each request that is not found.
            "asyncio": {"level": "WARNING"},
            "django": {"level": "WARNING", "handlers": [], "propagate": True},
            "django.request": {"level": "ERROR"},
            "redis": {"level": "WARNING"},
        },
    }


def configure(logging_config: dict[str, Any]) -> None:
    """Django's LOGGING_CONFIG. Raises BadVariable where the log file cannot be written."""
    file = Path(logging_config["handlers"]["file"]["filename"])
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.open("a").close()
    except OSError as error:
        raise BadVariable(
            "LOG_DIR", f"cannot write {file}: {error.strerror}", "a directory to write to"
        ) from None
    logging.config.dictConfig(logging_config)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *_SHARED,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
