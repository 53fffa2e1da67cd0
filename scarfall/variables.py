"""Every environment variable of the service, one a row: name, form, default, meaning.

`python -m scarfall.configuration_page` writes this table into docs/configuration.md.
"""

from __future__ import annotations

from scarfall import values
from scarfall.values import choice, integer, pattern, seconds, url
from scarfall.variable import Variable

# fmt: off
SECTIONS: dict[str, tuple[Variable, ...]] = {
    "Serving": (
        Variable("DEBUG", values.boolean, "false", "Development: details of errors in answers, and a well-known `JWT_SECRET`."),
        Variable("ENABLE_EXAMPLES", values.boolean, "false", "Serve the [example pages](examples.md); `DEBUG` serves them too."),
        Variable("HOST", values.text, "0.0.0.0", "Address that the user gateway listens on."),  # noqa: S104
        Variable("PORT", values.port, "3000", "Port of the user gateway."),
        Variable("INTERNAL_HOST", values.text, "127.0.0.1", "Address that the internal gateway listens on: the platform's services and the admin, not the internet."),
        Variable("INTERNAL_PORT", values.port, "4000", "Port of the internal gateway."),
        Variable("WEB_CONCURRENCY", integer(1, 256), "1", "User gateway processes, all on one port."),
        Variable("HANG_TIMEOUT", seconds(zero=True), "30", "A process that gives no sign of life for so long is killed and started again; 0: never."),
        Variable("TLS_CERT", values.path, None, "Certificate chain in PEM form: the user gateway then speaks `wss://` and `https://` itself. SIGHUP reads it anew.", absent="none: a proxy does, or nobody"),
        Variable("TLS_KEY", values.path, None, "Its private key, likewise."),
        Variable("CORS_ORIGIN", values.origins, "*", "Origins whose pages may connect to the gateways, and read what the user gateway answers over HTTP."),
        Variable("ALLOWED_HOSTS", values.names, "*", "Host names that HTTP requests may ask for, beside `localhost` and its addresses; `*` is any."),
        Variable("CSRF_TRUSTED_ORIGINS", values.origins, None, "Origins whose forms the admin accepts, where a proxy serves it under another one."),
        Variable("ADMIN_HTTPS", values.boolean, "false", "Operators reach the admin over `https://`, by a proxy: its cookies then go over nothing else."),
        Variable("SILENCED_CHECKS", values.names, None, "Ids of [warnings](operations.md#checks) that are as they should be."),
        Variable("SECRET_KEY", values.text, None, "Signs the admin's sessions.", absent="made by `serve`, kept in `DATA_DIR`", secret=True),
    ),
    "State and logs": (
        Variable("DATA_DIR", values.path, "var/", "Where the embedded Valkey, SQLite and the secrets that were made here keep their files."),
        Variable("DATABASE_URL", values.database_url, None, "PostgreSQL or SQLite: services and operators. No message's path touches it.", absent="SQLite in `DATA_DIR`", secret=True),
        Variable("LOG_DIR", values.path, "logs/", "One file of JSON lines for each process, rotated at 10 MB, five kept."),
        Variable("LOG_LEVEL", values.log_level, "info", "Least severe level that is logged."),
        Variable("LOG_LEVEL_CONSOLE", values.log_level, None, "The same for stderr only.", absent="`LOG_LEVEL`"),
        Variable("LOG_LEVEL_FILE", values.log_level, None, "The same for the files only.", absent="`LOG_LEVEL`"),
    ),
    "Redis or Valkey": (
        Variable("REDIS_URL", values.store_url, None, "The store: a server, `redis+sentinel://host,host/name`, or `redis+cluster://host,host`. Goes before the four variables below.", absent="embedded Valkey, unless `REDIS_HOST` is set", secret=True),
        Variable("REDIS_HOST", values.text, None, "The store's host, where `REDIS_URL` is not set."),
        Variable("REDIS_PORT", values.port, "6379", "Its port."),
        Variable("REDIS_PASSWORD", values.text, None, "Its password.", secret=True),
        Variable("REDIS_DB", integer(0, 65535), "0", "Its database number; the embedded Valkey's too."),
        Variable("REDIS_PREFIX", pattern(r"[A-Za-z0-9._:-]{1,32}", "1 to 32 letters, digits, '.', '_', ':' or '-'"), "scarfall:", "Begins every key and channel name."),
        Variable("REDIS_TIMEOUT", seconds(), "5", "A call that the store has not answered by then has failed."),
        Variable("DURABILITY", choice("memory", "process", "fsync"), "process", "What a message that was accepted survives: no end of the store; its process's death; a power cut too, for which every answer waits for the disk."),
    ),
    "Tokens": (
        Variable("JWT_SECRET", values.text, None, "Key of the HS algorithms, 32 bytes or more; the same one as the platform's issuer of tokens has.", absent="made by `serve`, kept in `DATA_DIR`", secret=True),
        Variable("JWT_ALGORITHM", choice("HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "ES256", "ES384", "ES512"), "HS256", "The one algorithm that tokens may be signed with."),
        Variable("JWT_PUBLIC_KEY", values.pem, None, "Key of the RS and ES algorithms, in PEM form; `\\n` may stand for a line's end."),
        Variable("JWT_JWKS_URL", url("https", "http"), None, "Where the RS and ES algorithms' keys are published, instead of `JWT_PUBLIC_KEY`."),
        Variable("JWT_AUDIENCE", values.text, None, "What a token's `aud` must hold.", absent="not checked"),
        Variable("JWT_ISSUER", values.text, None, "What a token's `iss` must be.", absent="not checked"),
        Variable("JWT_EXPIRATION", values.duration, "24h", "How long a token lasts that `issue_token` makes."),
        Variable("ALLOW_QUERY_TOKEN", values.boolean, "false", "Take a token from the query string, where proxies' logs keep it."),
        Variable("AUTH_TIMEOUT", seconds(), "10", "A socket that has not authenticated by then is closed."),
    ),
    "Sessions and presence": (
        Variable("SESSION_EXPIRY", seconds(), "86400", "Longest life of a session."),
        Variable("IDLE_TIMEOUT", seconds(), "1800", "A session without a request for so long is closed."),
        Variable("SESSION_CLEANUP_INTERVAL", seconds(), "300", "How often one process looks for dead sessions."),
        Variable("OFFLINE_GRACE", seconds(), "3", "A user whose last session dropped is offline to friends after this."),
        Variable("NODE_LEASE", seconds(), "15", "A process that has not renewed its lease for so long is dead; its sessions are ended."),
        Variable("DETAILED_PRESENCE", choice("friends", "everyone"), "friends", "Who is told of a user's devices."),
        Variable("SOCKETIO_RECOVERY", values.boolean, "false", "Connection state recovery for every Socket.IO client, not only for those that ask for it: handlers of `message` get an offset as one more argument."),
        Variable("WS_PING_INTERVAL", integer(100, 3_600_000, "ms"), "25000", "Pause between two pings to a client."),
        Variable("WS_PING_TIMEOUT", integer(100, 3_600_000, "ms"), "20000", "A client that has not answered a ping by then is gone."),
    ),
    "Messages": (
        Variable("INBOX_TTL", seconds(zero=True), "604800", "Age at which a message is dropped; 0: none is kept, and who is not there gets nothing."),
        Variable("INBOX_MAX_MESSAGES", integer(1, 1_000_000), "1000", "Messages that wait for one user; beyond that the oldest is dropped."),
        Variable("MAX_MESSAGE_BYTES", integer(1, 16_777_216, "bytes"), "65536", "Largest message."),
        Variable("MAX_RECIPIENTS", integer(1, 100_000), "1000", "Most recipients of one message."),
        Variable("MAX_OUTBOUND_BYTES", integer(1024, 1_073_741_824, "bytes"), "1048576", "What may wait for one slow reader before it is closed."),
        Variable("RECONCILE_INTERVAL", seconds(), "10", "How often a process compares what its users got with the store."),
    ),
    "Limits": (
        Variable("RATE_LIMITS", choice("on", "off"), "on", "The limits below, and those of services, all or none."),
        Variable("TRUSTED_PROXIES", values.networks, None, "Whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed: without it, limits by address count all that comes through a balancer as one.", absent="nobody's"),
        Variable("LIMIT_CONNECTIONS", values.rate, "1000/10", "Connections that one address may open at a process."),
        Variable("MAX_ADDRESS_CONNECTIONS", integer(0, 1_000_000), "2000", "Connections that one address may have at a process; 0: any number."),
        Variable("LIMIT_FAILED_TOKENS", values.rate, "100/60", "Bad tokens from one address at a process: beyond that none of its connections is let in for a while."),
        Variable("LIMIT_ADMISSIONS", values.rate, "1000/2", "Clients that may authenticate at a process, all together: the rest is told when to come back, so that those who are in notice nothing."),
        Variable("MAX_USER_SESSIONS", integer(0, 10_000), "100", "Sessions that one user may have at once, at all processes together; 0: any number."),
        Variable("LIMIT_FRAMES", values.rate, "600/10", "Frames that one socket may send."),
        Variable("LIMIT_BYTES", values.rate, "8388608/10", "Bytes that one socket may send."),
        Variable("LIMIT_MESSAGES", values.rate, "300/10", "Messages that one user may send, by all processes together."),
        Variable("LIMIT_RECIPIENTS", values.rate, "20000/10", "Recipients that one user's messages may have, likewise; each counts once for every KiB that the message begins."),
        Variable("LIMIT_PRESENCE_QUERIES", values.rate, "30/10", "Questions of one socket about who is online."),
        Variable("LIMIT_FAILED_AUTHENTICATIONS", values.rate, "20/60", "Failed authentications of services from one address, at all processes together."),
        Variable("LIMIT_REGISTRATIONS", values.rate, "10/60", "Registrations of services from one address, likewise."),
        Variable("LIMIT_ADMIN_LOGINS", values.rate, "10/300", "Wrong passwords at the admin's login from one address for one name, likewise; for all names together five times as many."),
    ),
    "The platform's services": (
        Variable("CUSTOM_SERVICES", values.custom_services, None, "Services known from the start: `name:key:type[:description]`, comma-separated.", secret=True),
        Variable("ALLOWED_SERVICE_TYPES", values.names, None, "Types that a service may register with.", absent="any"),
        Variable("REQUIRE_SERVICE_APPROVAL", values.boolean, "false", "A service that registers waits for an operator."),
        Variable("MAX_SERVICES", integer(0, 1_000_000), "50", "Most services there may be."),
        Variable("SERVICE_SESSION_EXPIRY", seconds(), "3600", "Longest life of a service's session."),
        Variable("SERVICE_SESSION_IDLE_TIMEOUT", seconds(), "300", "A service's session without a request for so long is closed."),
    ),
    "Set for you": (
        Variable("ENV_FILE", values.path, None, "File of variables in place of `.env`; the real environment goes before either.", absent="`.env`"),
        Variable("SCARFALL_PROCESS", pattern(r"[a-z0-9-]{1,32}", "a short name"), "manage", "Names the process's log file; `serve` sets it for each process that it starts."),
    ),
}
# fmt: on
