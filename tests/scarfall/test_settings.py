"""The settings, each in a process of its own, since a process loads them once."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from scarfall import environment, keyfiles
from tests.certificate import Certificate
from tests.scarfall.conftest import ROOT

SECRET = "0123456789abcdef0123456789abcdef"
PROGRAM = """
import json, sys
from scarfall.variable import BadVariable
try:
    from scarfall import settings
except BadVariable as error:
    sys.exit(str(error))
print(json.dumps([getattr(settings, name) for name in sys.argv[1:]], default=str))
"""

RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def public(key: Any, form: PublicFormat = PublicFormat.SubjectPublicKeyInfo) -> str:
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, form)
    return pem.decode()


RSA = public(RSA_KEY)
P256 = public(ec.generate_private_key(ec.SECP256R1()))
P384 = public(ec.generate_private_key(ec.SECP384R1()))
CUT_OFF = "\n".join([*P256.splitlines()[:2], "-----END PUBLIC KEY-----"])
PRIVATE = RSA_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def load(directory: Path, *names: str, **variables: str) -> Any:
    """The named settings, or the line that refuses them."""
    environ = {
        "ENV_FILE": os.devnull,
        "DATA_DIR": str(directory),
        "SECRET_KEY": SECRET,
        **variables,
    }
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, *names],
        cwd=ROOT, env=environ, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return json.loads(run.stdout) if run.returncode == 0 else run.stderr.strip()


def test_no_redis_given_means_the_embedded_one(tmp_path: Path) -> None:
    names = ("REDIS_EMBEDDED", "REDIS_URL")
    assert load(tmp_path, *names, JWT_SECRET=SECRET) == [
        True,
        f"unix://{tmp_path}/valkey.sock?db=0",
    ]
    long = tmp_path / ("x" * 100)
    embedded, url = load(long, *names, JWT_SECRET=SECRET, REDIS_DB="3")
    assert embedded
    assert url.endswith("/valkey.sock?db=3")
    assert len(url) < 100


def test_a_password_may_hold_anything(tmp_path: Path) -> None:
    got = load(
        tmp_path, "REDIS_EMBEDDED", "REDIS_URL",
        JWT_SECRET=SECRET, REDIS_HOST="store", REDIS_PASSWORD="p@ss/w:rd?#", REDIS_DB="2",
    )  # fmt: skip
    assert got == [False, "redis://:p%40ss%2Fw%3Ard%3F%23@store:6379/2"]


def test_a_url_goes_before_a_host(tmp_path: Path) -> None:
    got = load(tmp_path, "REDIS_URL", JWT_SECRET=SECRET, REDIS_HOST="h", REDIS_URL="redis://u:1/5")
    assert got == ["redis://u:1/5"]


def test_the_secret_comes_from_the_environment_or_the_file(tmp_path: Path) -> None:
    assert load(tmp_path, "JWT_SECRET").startswith("JWT_SECRET: not set; expected 32 bytes")
    (tmp_path / "jwt_secret").write_text(SECRET[::-1] + "\n")
    assert load(tmp_path, "JWT_SECRET") == [SECRET[::-1]]
    assert load(tmp_path, "JWT_SECRET", JWT_SECRET=SECRET) == [SECRET]


def test_a_short_secret_is_taken(tmp_path: Path) -> None:
    """A deployment that comes with one has signed tokens with it: the checks name it."""
    assert load(tmp_path, "JWT_SECRET", JWT_SECRET="short") == ["short"]


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"TLS_CERT": "cert.pem"}, "TLS_KEY: not set"),
        ({"TLS_KEY": "key.pem"}, "TLS_CERT: not set"),
        (
            {"TLS_CERT": "cert.pem", "TLS_KEY": "key.pem", "WEB_CONCURRENCY": "2"},
            "WEB_CONCURRENCY: 2 with TLS_CERT",
        ),
    ],
)
def test_tls_wants_both_files_and_one_process(
    tmp_path: Path, variables: dict[str, str], said: str
) -> None:
    assert load(tmp_path, "TLS_CERT", JWT_SECRET=SECRET, **variables).startswith(said)


def test_a_reader_has_room_for_the_largest_message(tmp_path: Path) -> None:
    variables = {"JWT_SECRET": SECRET, "MAX_MESSAGE_BYTES": "1048576"}
    said = load(tmp_path, "MAX_OUTBOUND_BYTES", **variables)
    assert said.startswith("MAX_OUTBOUND_BYTES: 1048576 with MAX_MESSAGE_BYTES 1048576;")
    enough = 1048576 + 1024
    variables["MAX_OUTBOUND_BYTES"] = str(enough)
    assert load(tmp_path, "MAX_OUTBOUND_BYTES", **variables) == [enough]


def test_a_database_server_that_vanishes_is_not_waited_for(tmp_path: Path) -> None:
    (databases,) = load(
        tmp_path,
        "DATABASES",
        JWT_SECRET=SECRET,
        DATABASE_URL="postgres://me@db/scarfall?keepalives_idle=60&sslmode=require",
    )
    options = databases["default"]["OPTIONS"]
    assert options["tcp_user_timeout"] == 10_000
    assert options["keepalives_interval"] * options["keepalives_count"] == 10
    assert options["sslmode"] == "require"
    assert int(options["keepalives_idle"]) == 60


def test_debug_has_a_well_known_secret(tmp_path: Path) -> None:
    (secret,) = load(tmp_path, "JWT_SECRET", DEBUG="true")
    assert len(secret) >= 32


def test_public_keys_need_no_secret(tmp_path: Path) -> None:
    assert load(tmp_path, JWT_ALGORITHM="RS256").startswith("JWT_PUBLIC_KEY: not set")
    assert load(tmp_path, "JWT_SECRET", JWT_ALGORITHM="RS256", JWT_PUBLIC_KEY=RSA) == [None]
    url = "https://issuer.example/jwks.json"
    (simple_jwt,) = load(tmp_path, "SIMPLE_JWT", JWT_ALGORITHM="ES256", JWT_JWKS_URL=url)
    assert (simple_jwt["ALGORITHM"], simple_jwt["JWK_URL"]) == ("ES256", url)


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        ("RS512", RSA),
        ("RS256", RSA.replace("\n", "\\n")),
        ("RS384", public(RSA_KEY, PublicFormat.PKCS1)),
        ("ES256", P256),
        ("ES384", P384),
        ("HS256", PRIVATE),  # nobody asks for it
    ],
)
def test_a_public_key_of_the_algorithms_kind_is_taken(
    tmp_path: Path, algorithm: str, key: str
) -> None:
    given = {"JWT_SECRET": SECRET, "JWT_ALGORITHM": algorithm, "JWT_PUBLIC_KEY": key}
    assert load(tmp_path, "JWT_ALGORITHM", **given) == [algorithm]


@pytest.mark.parametrize(
    ("algorithm", "key", "said"),
    [
        ("RS256", P256, "got a public key of another kind; expected an RSA public key"),
        ("ES256", RSA, "got a public key of another kind; expected an EC public key"),
        ("ES256", P384, "got a public key of another kind; expected an EC public key on the curve"),
        ("RS256", PRIVATE, "got a block of PRIVATE KEY, which can't be read as a public key"),
        ("ES256", CUT_OFF, "got a block of PUBLIC KEY, which can't be read as a public key"),
        ("RS256", RSA.replace("A", "!"), "got a block of PUBLIC KEY, which can't be read"),
    ],
)
def test_a_public_key_that_verifies_nothing_is_named(
    tmp_path: Path, algorithm: str, key: str, said: str
) -> None:
    refusal = load(tmp_path, JWT_ALGORITHM=algorithm, JWT_PUBLIC_KEY=key)
    assert refusal.startswith(f"JWT_PUBLIC_KEY: {said}")
    assert refusal.endswith(f", for JWT_ALGORITHM {algorithm}")
    assert "\n" not in refusal


def test_a_certificate_is_no_public_key(tmp_path: Path) -> None:
    pem = Certificate(tmp_path).cert.read_text()
    refusal = load(tmp_path, JWT_ALGORITHM="ES256", JWT_PUBLIC_KEY=pem)
    assert refusal.startswith("JWT_PUBLIC_KEY: got a block of CERTIFICATE, which can't be read")


def test_serve_makes_the_secrets_once_and_for_its_owner_only(tmp_path: Path) -> None:
    given = environment.read({"DATA_DIR": str(tmp_path / "var")})
    made = keyfiles.make_missing(given)
    assert [path.name for path in made] == ["django_secret", "jwt_secret"]
    for path in made:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert len(path.read_text().strip()) == 64
    assert keyfiles.make_missing(given) == []
    assert sorted(path.name for path in (tmp_path / "var").iterdir()) == [
        "django_secret",
        "jwt_secret",
    ]


@pytest.mark.parametrize(
    "variables",
    [{"JWT_SECRET": SECRET}, {"DEBUG": "true"}, {"JWT_ALGORITHM": "RS256"}],
)
def test_no_secret_is_made_that_nobody_needs(tmp_path: Path, variables: dict[str, str]) -> None:
    environ = {"DATA_DIR": str(tmp_path), "SECRET_KEY": SECRET, **variables}
    assert keyfiles.make_missing(environment.read(environ)) == []


def test_the_layers_connections_never_repeat_and_always_end(tmp_path: Path) -> None:
    (layers,) = load(
        tmp_path, "CHANNEL_LAYERS", JWT_SECRET=SECRET, REDIS_HOST="h", REDIS_TIMEOUT="2"
    )
    config = layers["default"]["CONFIG"]
    (host,) = config["hosts"]
    assert host["socket_timeout"] == host["socket_connect_timeout"] == 2.0
    assert host["socket_keepalive"] is True
    assert config["prefix"] == "scarfall:"
