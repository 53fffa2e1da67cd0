"""Logs: readable lines on stderr, JSON lines in LOG_DIR, one file for each process."""

from __future__ import annotations

import logging.config
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

from scarfall.variable import BadVariable

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

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


def drop_color_message(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Uvicorn gives its messages twice, once with escape codes."""
    event.pop("color_message", None)
    return event


def config(log_dir: Path, process: str, console_level: str, file_level: str) -> dict[str, Any]:
    """Django's LOGGING; `configure` below applies it."""
    remove_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "console": {
                "()": "structlog.stdlib.ProcessorFormatter",
                "foreign_pre_chain": [*_SHARED, structlog.stdlib.ExtraAdder(), drop_color_message],
                "processors": [
                    remove_meta,
                    structlog.dev.ConsoleRenderer(
                        colors=sys.stderr.isatty(),
                        # Rich's tracebacks show local variables: tokens, keys, messages.
                        exception_formatter=structlog.dev.plain_traceback,
                    ),
                    mask_secrets,
                ],
            },
            "json": {
                "()": "structlog.stdlib.ProcessorFormatter",
                "foreign_pre_chain": [*_SHARED, structlog.stdlib.ExtraAdder(), drop_color_message],
                "processors": [
                    remove_meta,
                    structlog.processors.format_exc_info,
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
        "root": {"handlers": ["console", "file"], "level": "DEBUG"},
        "loggers": {
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
