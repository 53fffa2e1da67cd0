"""Django's settings and the service's own: the only module that reads the environment.

A setting made from a variable has the variable's name and unit; docs/configuration.md lists them.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

from gateways.store.connection import layer_host
from gateways.store.place import Place
from scarfall import environment, keyfiles, logs, redis_url, sockets, values
from scarfall.admin_site import UNFOLD  # noqa: F401  # a setting
from scarfall.environment import BASE_DIR
from scarfall.values import CustomService
from scarfall.variable import BadVariable

_given = environment.read(environment.load())

# --- Serving

DEBUG: bool = _given["DEBUG"]
ENABLE_EXAMPLES: bool = DEBUG or _given["ENABLE_EXAMPLES"]
HOST: str = _given["HOST"]
PORT: int = _given["PORT"]
INTERNAL_HOST: str = _given["INTERNAL_HOST"]
INTERNAL_PORT: int = _given["INTERNAL_PORT"]
WEB_CONCURRENCY: int = _given["WEB_CONCURRENCY"]
HANG_TIMEOUT: float = _given["HANG_TIMEOUT"]
TLS_CERT: Path | None = _given["TLS_CERT"]
TLS_KEY: Path | None = _given["TLS_KEY"]
CORS_ORIGIN: tuple[str, ...] = _given["CORS_ORIGIN"]
# Whoever asks this machine for its health from within names it so.
ALLOWED_HOSTS: list[str] = [*_given["ALLOWED_HOSTS"], "127.0.0.1", "localhost", "[::1]"]
CSRF_TRUSTED_ORIGINS: list[str] = list(_given["CSRF_TRUSTED_ORIGINS"] or ())

for _one, _other in (("TLS_CERT", "TLS_KEY"), ("TLS_KEY", "TLS_CERT")):
    if _given[_one] is not None and _given[_other] is None:
        raise BadVariable(_other, "not set", f"a path, beside {_one}'s")
# Processes on one port hand connections to each other, which they can't once one is encrypted.
if TLS_CERT is not None and WEB_CONCURRENCY > 1:
    raise BadVariable("WEB_CONCURRENCY", f"{WEB_CONCURRENCY} with TLS_CERT", "1, or TLS in a proxy")

# --- State and logs

DATA_DIR: Path = BASE_DIR / _given["DATA_DIR"]
LOG_DIR: Path = BASE_DIR / _given["LOG_DIR"]
LOG_LEVEL: str = _given["LOG_LEVEL"]
LOG_LEVEL_CONSOLE: str = _given["LOG_LEVEL_CONSOLE"] or LOG_LEVEL
LOG_LEVEL_FILE: str = _given["LOG_LEVEL_FILE"] or LOG_LEVEL
SCARFALL_PROCESS: str = _given["SCARFALL_PROCESS"]
# The longest name that a process of `serve` has: all their sockets are to be in one directory.
METRICS_DIR: Path = sockets.path(DATA_DIR / "metrics", "internal.sock").parent

# --- The store

REDIS_EMBEDDED: bool = _given["REDIS_URL"] is None and _given["REDIS_HOST"] is None
REDIS_SOCKET: Path = sockets.path(DATA_DIR, "valkey.sock")
REDIS_URL: str
if _given["REDIS_URL"] is not None:
    REDIS_URL = _given["REDIS_URL"]
elif REDIS_EMBEDDED:
    REDIS_URL = redis_url.of_socket(REDIS_SOCKET, _given["REDIS_DB"])
else:
    REDIS_URL = redis_url.from_host(_given)
REDIS_PREFIX: str = _given["REDIS_PREFIX"]
REDIS_TIMEOUT: float = _given["REDIS_TIMEOUT"]
DURABILITY: str = _given["DURABILITY"]

# --- Tokens

JWT_ALGORITHM: str = _given["JWT_ALGORITHM"]
JWT_PUBLIC_KEY: str | None = _given["JWT_PUBLIC_KEY"]
JWT_JWKS_URL: str | None = _given["JWT_JWKS_URL"]
JWT_AUDIENCE: str | None = _given["JWT_AUDIENCE"]
JWT_ISSUER: str | None = _given["JWT_ISSUER"]
JWT_EXPIRATION: timedelta = _given["JWT_EXPIRATION"]
ALLOW_QUERY_TOKEN: bool = _given["ALLOW_QUERY_TOKEN"]
AUTH_TIMEOUT: float = _given["AUTH_TIMEOUT"]

# Well known, so that a developer's tools can hold it too. It is taken under DEBUG only.
_DEVELOPMENT_SECRET = "scarfall-development-secret-not-for-production"  # noqa: S105  # for DEBUG only


def _jwt_secret() -> str | None:
    if not JWT_ALGORITHM.startswith("HS"):
        if JWT_PUBLIC_KEY is None and JWT_JWKS_URL is None:
            raise BadVariable(
                "JWT_PUBLIC_KEY",
                "not set",
                f"a public key in PEM form, or JWT_JWKS_URL, for JWT_ALGORITHM {JWT_ALGORITHM}",
            )
        return None
    secret: str | None = _given["JWT_SECRET"] or keyfiles.read(DATA_DIR, keyfiles.JWT_SECRET)
    if DEBUG:
        return secret or _DEVELOPMENT_SECRET
    if secret is None:
        raise BadVariable(
            "JWT_SECRET",
            "not set",
            "32 bytes or more (script/server makes one where there is none)",
        )
    return secret


def _secret_key() -> str:
    secret: str | None = _given["SECRET_KEY"] or keyfiles.read(DATA_DIR, keyfiles.SECRET_KEY)
    if secret is None and DEBUG:
        return _DEVELOPMENT_SECRET
    if secret is None:
        raise BadVariable(
            "SECRET_KEY",
            "not set",
            "a long random text (script/server makes one where there is none)",
        )
    return secret


if JWT_PUBLIC_KEY is not None and not JWT_ALGORITHM.startswith("HS"):
    try:
        values.check_public_key(JWT_PUBLIC_KEY, JWT_ALGORITHM)
    except ValueError as error:
        _wanted = f"{values.PUBLIC_KEYS[JWT_ALGORITHM]}, for JWT_ALGORITHM {JWT_ALGORITHM}"
        raise BadVariable("JWT_PUBLIC_KEY", str(error), _wanted) from None

JWT_SECRET: str | None = _jwt_secret()
SECRET_KEY: str = _secret_key()

SIMPLE_JWT: dict[str, Any] = {
    "ALGORITHM": JWT_ALGORITHM,
    "SIGNING_KEY": JWT_SECRET or "",
    "VERIFYING_KEY": JWT_PUBLIC_KEY or "",
    "JWK_URL": JWT_JWKS_URL,
    "AUDIENCE": JWT_AUDIENCE,
    "ISSUER": JWT_ISSUER,
    "ACCESS_TOKEN_LIFETIME": JWT_EXPIRATION,
    # The platform's tokens carry neither a type nor an id.
    "USER_ID_CLAIM": "sub",
    "TOKEN_TYPE_CLAIM": None,
    "JTI_CLAIM": None,
}

# --- Sessions and presence

SESSION_EXPIRY: float = _given["SESSION_EXPIRY"]
IDLE_TIMEOUT: float = _given["IDLE_TIMEOUT"]
SESSION_CLEANUP_INTERVAL: float = _given["SESSION_CLEANUP_INTERVAL"]
OFFLINE_GRACE: float = _given["OFFLINE_GRACE"]
NODE_LEASE: float = _given["NODE_LEASE"]
DETAILED_PRESENCE: str = _given["DETAILED_PRESENCE"]
SOCKETIO_RECOVERY: bool = _given["SOCKETIO_RECOVERY"]
WS_PING_INTERVAL: int = _given["WS_PING_INTERVAL"]
WS_PING_TIMEOUT: int = _given["WS_PING_TIMEOUT"]

# --- Messages

INBOX_TTL: float = _given["INBOX_TTL"]
INBOX_MAX_MESSAGES: int = _given["INBOX_MAX_MESSAGES"]
MAX_MESSAGE_BYTES: int = _given["MAX_MESSAGE_BYTES"]
MAX_RECIPIENTS: int = _given["MAX_RECIPIENTS"]
MAX_OUTBOUND_BYTES: int = _given["MAX_OUTBOUND_BYTES"]
RECONCILE_INTERVAL: float = _given["RECONCILE_INTERVAL"]
# Whoever is sent more than this is closed, and comes back for the same message.
if MAX_OUTBOUND_BYTES < MAX_MESSAGE_BYTES + 1024:
    raise BadVariable(
        "MAX_OUTBOUND_BYTES",
        f"{MAX_OUTBOUND_BYTES} with MAX_MESSAGE_BYTES {MAX_MESSAGE_BYTES}",
        "1024 more than that, or more",
    )
# A message a little too large is answered `too_large`; far beyond this bound the server
# closes the socket with 1009. JSON may escape each byte, and an id of a recipient takes 140.
MAX_FRAME_BYTES: int = 2 * MAX_MESSAGE_BYTES + 140 * MAX_RECIPIENTS

# --- Limits

RATE_LIMITS: str = _given["RATE_LIMITS"]
TRUSTED_PROXIES: tuple[str, ...] = _given["TRUSTED_PROXIES"] or ()
LIMIT_CONNECTIONS: tuple[int, float] = _given["LIMIT_CONNECTIONS"]
MAX_ADDRESS_CONNECTIONS: int = _given["MAX_ADDRESS_CONNECTIONS"]
LIMIT_FAILED_TOKENS: tuple[int, float] = _given["LIMIT_FAILED_TOKENS"]
LIMIT_ADMISSIONS: tuple[int, float] = _given["LIMIT_ADMISSIONS"]
MAX_USER_SESSIONS: int = _given["MAX_USER_SESSIONS"]
LIMIT_FRAMES: tuple[int, float] = _given["LIMIT_FRAMES"]
LIMIT_BYTES: tuple[int, float] = _given["LIMIT_BYTES"]
LIMIT_MESSAGES: tuple[int, float] = _given["LIMIT_MESSAGES"]
LIMIT_RECIPIENTS: tuple[int, float] = _given["LIMIT_RECIPIENTS"]
LIMIT_PRESENCE_QUERIES: tuple[int, float] = _given["LIMIT_PRESENCE_QUERIES"]
LIMIT_FAILED_AUTHENTICATIONS: tuple[int, float] = _given["LIMIT_FAILED_AUTHENTICATIONS"]
LIMIT_REGISTRATIONS: tuple[int, float] = _given["LIMIT_REGISTRATIONS"]
LIMIT_ADMIN_LOGINS: tuple[int, float] = _given["LIMIT_ADMIN_LOGINS"]

# --- The platform's services

CUSTOM_SERVICES: tuple[CustomService, ...] = _given["CUSTOM_SERVICES"] or ()
ALLOWED_SERVICE_TYPES: tuple[str, ...] = _given["ALLOWED_SERVICE_TYPES"] or ()
REQUIRE_SERVICE_APPROVAL: bool = _given["REQUIRE_SERVICE_APPROVAL"]
MAX_SERVICES: int = _given["MAX_SERVICES"]
SERVICE_SESSION_EXPIRY: float = _given["SERVICE_SESSION_EXPIRY"]
SERVICE_SESSION_IDLE_TIMEOUT: float = _given["SERVICE_SESSION_IDLE_TIMEOUT"]

# --- Django

INSTALLED_APPS = [
    # Only runserver needs daphne. In a gateway it would cost half a second of each start and 45 MB.
    *(["daphne"] if "runserver" in sys.argv[1:2] else []),
    "unfold",
    # scarfall/urls_internal.py has its pages registered: only the internal gateway needs them.
    "django.contrib.admin.apps.SimpleAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "gateways",
    "services_registry",
]

SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _given["ADMIN_HTTPS"]
SILENCED_SYSTEM_CHECKS = [
    # gateways/server/headers.py does that, for more than what Django answers.
    "security.W001",
    "security.W002",
    *(_given["SILENCED_CHECKS"] or ()),
]

MIDDLEWARE = [
    "scarfall.middleware.choose_urlconf",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]

ASGI_APPLICATION = "scarfall.asgi.application"
ROOT_URLCONF = "scarfall.urls_user"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]

DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False
WHITENOISE_ALLOW_ALL_ORIGINS = False
LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = True

DATABASES: dict[str, dict[str, Any]] = {
    "default": _given["DATABASE_URL"]
    or {"ENGINE": "django.db.backends.sqlite3", "NAME": DATA_DIR / "db.sqlite3"}
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    DATABASES["default"]["OPTIONS"] = {
        # Readers and a writer do not wait for each other; a transaction takes its write lock at its
        # start, since one that asks for it halfway fails at once where it should wait.
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
        "transaction_mode": "IMMEDIATE",
        "timeout": 5,
    }
else:
    # A server that is gone would be waited for as long as the kernel likes: for what was sent a
    # quarter of an hour, for an answer two hours. The last is in ms (libpq, "Parameter Key Words").
    DATABASES["default"]["OPTIONS"] = {
        "connect_timeout": 5,
        "keepalives_idle": 5,
        "keepalives_interval": 5,
        "keepalives_count": 2,
        "tcp_user_timeout": 10_000,
    } | DATABASES["default"].get("OPTIONS", {})

# Each call of the layer's ends within REDIS_TIMEOUT and is never made a second time: a publish that
# timed out may have arrived.
CHANNEL_LAYERS = {
    "default": {
        "BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer",
        "CONFIG": {
            "hosts": [layer_host(Place.of(REDIS_URL), timeout_seconds=REDIS_TIMEOUT)],
            "prefix": REDIS_PREFIX,
        },
    },
}

LOGGING_CONFIG = "scarfall.logs.configure"
LOGGING = logs.config(LOG_DIR, SCARFALL_PROCESS, LOG_LEVEL_CONSOLE, LOG_LEVEL_FILE)
