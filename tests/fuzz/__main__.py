"""Looks for bytes that a parser cannot take: `python -m tests.fuzz [target] [options of libFuzzer]`.

make fuzz                                             # each target for a minute
python -m tests.fuzz response -max_total_time=600     # one of them for longer
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["toolpolicy_sidecar"]):
    from tests.fuzz.targets import TARGETS

EACH_S = 60


def one(name: str, options: list[str]) -> None:
    """Never returns: libFuzzer ends the process."""
    with tempfile.NamedTemporaryFile("w", suffix=".dict", delete=False) as words:
        for token in TARGETS[name].tokens:
            words.write('"' + "".join(f"\\x{byte:02x}" for byte in token) + '"\n')
    folder = Path(tempfile.mkdtemp())
    for number, seed in enumerate(TARGETS[name].seeds):
        (folder / str(number)).write_bytes(seed)
    told = [f"-dict={words.name}", "-timeout=5", "-rss_limit_mb=2048", *options, str(folder)]
    atheris.Setup([sys.argv[0], *told], TARGETS[name].run)
    atheris.Fuzz()


def main() -> int:
    names = [name for name in sys.argv[1:2] if name in TARGETS]
    if names:
        one(names[0], sys.argv[2:])
    failed = []
    for name in TARGETS:
        print(f"== {name}", flush=True)
        folder = Path(tempfile.mkdtemp())
        command = [
            sys.executable,
            "-m",
            "tests.fuzz",
            name,
            f"-max_total_time={EACH_S}",
            f"-artifact_prefix={folder}/",
        ]
        if subprocess.run([*command, *sys.argv[1:]], check=False).returncode:
            failed.append(f"{name}: see {folder}")
    print("\n".join(failed) or "nothing found")
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
