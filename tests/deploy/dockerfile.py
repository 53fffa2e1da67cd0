"""The Dockerfile's own steps, carried out without Docker: `/` of an image is a directory here, and
the Python of these tests stands for the base image's.
"""

import json
import os
import re
import shlex
import shutil
import string
import subprocess
import sys
from dataclasses import dataclass, field
from fnmatch import translate
from pathlib import Path, PurePosixPath

from dockerfile_parse import DockerfileParser

from scarfall.variables import SECTIONS
from tests.e2e.gateways import ROOT

#: The directories that the steps name by an absolute path. What else they use is the base image's.
OURS = re.compile(r"(?<![\w./])/(?=(?:srv|var)/)")
SERVICE_VARIABLES = {variable.name for section in SECTIONS.values() for variable in section}


@dataclass
class Image:
    """What a stage has come to. Every path and variable is as it is on this machine."""

    root: Path
    workdir: Path
    environment: dict[str, str]
    #: What an image says of how it is run, by instruction.
    said: dict[str, str] = field(default_factory=dict)

    @property
    def command(self) -> list[str]:
        return _words(self.said["CMD"])

    @property
    def healthcheck(self) -> list[str]:
        return _words(self.said["HEALTHCHECK"].partition("CMD ")[2])

    @property
    def volumes(self) -> list[Path]:
        return [Path(path) for path in _words(self.said["VOLUME"])]

    def here(self, text: str) -> str:
        return OURS.sub(f"{self.root}/", text)

    def as_user(self, command: list[str]) -> list[str]:
        """To be run without the rights that the image's user has not. The user may read all,
        though: who runs the tests may keep the interpreter at home.
        """
        if os.geteuid() != 0:
            return command
        uid, gid = self.said["USER"].split(":")
        return [
            *("setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups"),
            *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),
            *command,
        ]


def steps() -> list[tuple[str, str]]:
    """Each instruction with its value."""
    parser = DockerfileParser(str(ROOT / "Dockerfile"))
    return [
        (step["instruction"], step["value"])
        for step in parser.structure
        if step["instruction"] != "COMMENT"
    ]


def build(directory: Path) -> Image:
    """The last stage. Raises CalledProcessError where a step fails."""
    stages: dict[str, Image] = {}
    for number, (instruction, value) in enumerate(steps()):
        if instruction == "FROM":
            base, _, name = value.partition(" AS ")
            image = _begin(directory / f"stage-{number}", stages.get(base))
            stages[name] = image
        else:
            _carry_out(image, instruction, value, stages)
    return image


def _begin(root: Path, base: Image | None) -> Image:
    root.mkdir(parents=True)
    if base is None:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        (root / "var/lib").mkdir(parents=True)
        (root / "var/log").mkdir()
        return Image(root, root, {"PATH": path})
    shutil.copytree(base.root, root, dirs_exist_ok=True)
    return Image(root, root / base.workdir.relative_to(base.root), dict(base.environment))


def _carry_out(image: Image, instruction: str, value: str, stages: dict[str, Image]) -> None:
    match instruction:
        case "WORKDIR":
            image.workdir = Path(image.here(value))
            image.workdir.mkdir(parents=True)
        case "COPY":
            _copy(image, shlex.split(value), stages)
        case "RUN":
            _run(image, value)
        case "ENV":
            for word in shlex.split(image.here(value)):
                name, _, text = word.partition("=")
                image.environment[name] = string.Template(text).substitute(image.environment)
        case "USER" | "VOLUME" | "EXPOSE" | "HEALTHCHECK" | "CMD":
            image.said[instruction] = image.here(value)
        case _:
            raise NotImplementedError(instruction)


def _words(value: str) -> list[str]:
    """Of the exec form: a shell, which the other one wants, would keep signals to itself."""
    words: list[str] = json.loads(value)
    return words


def _run(image: Image, command: str) -> None:
    if os.geteuid() != 0:
        # Only root gives files away.
        command = re.sub(r"chown \d+:\d+", f"chown {os.geteuid()}:{os.getegid()}", command)
    # How pip finds packages here, say; but coverage of it would measure nothing.
    others = {
        name: value
        for name, value in os.environ.items()
        if name not in SERVICE_VARIABLES and not name.startswith("COV")
    }
    subprocess.run(
        ["/bin/sh", "-c", image.here(command)],
        cwd=image.workdir,
        env={**others, **image.environment},
        check=True,
    )


def _copy(image: Image, words: list[str], stages: dict[str, Image]) -> None:
    *sources, target = words
    source_root = ROOT
    if sources[0].startswith("--from="):
        stage = stages[sources.pop(0).removeprefix("--from=")]
        sources = [stage.here(source) for source in sources]
        source_root = stage.root
    for source in sources:
        there, here = source_root / source, image.workdir / target
        if there.is_dir():
            ignore = _ignored if source_root == ROOT else None
            shutil.copytree(there, here, symlinks=True, ignore=ignore, dirs_exist_ok=True)
        else:
            shutil.copy2(there, here)


def _ignored(directory: str, names: list[str]) -> list[str]:
    """What .dockerignore keeps from the image: the last pattern decides that fits a path or one of
    the directories that it is in.
    """
    inside = PurePosixPath(Path(directory).relative_to(ROOT))
    ignored = []
    for name in names:
        path = inside / name
        verdict = False
        for keep, pattern in _patterns():
            if any(pattern.fullmatch(str(part)) for part in (path, *path.parents)):
                verdict = not keep
        if verdict:
            ignored.append(name)
    return ignored


def _patterns() -> list[tuple[bool, re.Pattern[str]]]:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    return [
        (line.startswith("!"), re.compile(_expression(line.removeprefix("!"))))
        for line in lines
        if line and not line.startswith("#")
    ]


def _expression(pattern: str) -> str:
    """Of patterns without a `/` beside that of `**/`, at the start, which is any depth."""
    name = pattern.removeprefix("**/")
    assert "/" not in name, pattern
    anywhere = "(?:.*/)?" if name != pattern else ""
    return anywhere + translate(name).replace(".*", "[^/]*")
