"""Secrets that this machine made for itself, one file each in DATA_DIR.

Only `manage.py serve` makes them; whatever else needs one that is not there says so.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

from scarfall.environment import BASE_DIR
from scarfall.variable import BadVariable

JWT_SECRET = "jwt_secret"  # noqa: S105  # a name
SECRET_KEY = "django_secret"  # noqa: S105  # a name


def read(data_dir: Path, name: str) -> str | None:
    try:
        return (data_dir / name).read_text("ascii").strip() or None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise BadVariable(
            "DATA_DIR", f"cannot read {data_dir / name}: {error}", "a text file"
        ) from None


def make_missing(given: dict[str, Any]) -> list[Path]:
    """Makes the secrets that neither a variable nor a file holds; returns the files made."""
    data_dir = BASE_DIR / given["DATA_DIR"]
    wanted = []
    if given["SECRET_KEY"] is None:
        wanted.append(SECRET_KEY)
    needs_jwt_secret = given["JWT_ALGORITHM"].startswith("HS") and not given["DEBUG"]
    if given["JWT_SECRET"] is None and needs_jwt_secret:
        wanted.append(JWT_SECRET)
    return [
        data_dir / name for name in wanted if read(data_dir, name) is None and _make(data_dir, name)
    ]


def _make(data_dir: Path, name: str) -> bool:
    """False where another process made it first: nobody ever sees half a file."""
    draft = data_dir / f".{name}.{os.getpid()}"
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(secrets.token_urlsafe(48) + "\n")
        try:
            os.link(draft, data_dir / name)
        except FileExistsError:
            return False
        finally:
            draft.unlink()
    except OSError as error:
        raise BadVariable(
            "DATA_DIR", f"cannot write {data_dir}: {error.strerror}", "a directory to write to"
        ) from None
    return True
