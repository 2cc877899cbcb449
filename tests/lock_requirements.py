"""Write requirements.lock: the versions that a clean resolve of fileroom and all its extras chooses today."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADER = """\
# The versions that fileroom is tested with, for `pip install -c requirements.lock`. Made by `make lock`; do not edit.
"""


def resolve(report: Path) -> dict[str, str]:
    """Name and version of every distribution, ours left out, whatever is installed now."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--report"]
    subprocess.run([*command, str(report), f"{ROOT}[test]"], check=True)
    chosen = [entry["metadata"] for entry in json.loads(report.read_text())["install"]]
    return {metadata["name"]: metadata["version"] for metadata in chosen if metadata["name"] != "fileroom"}


def main(lock: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        versions = resolve(Path(folder) / "report.json")
    lines = [f"{name}=={version}\n" for name, version in sorted(versions.items(), key=lambda item: item[0].lower())]
    lock.write_text(HEADER + "".join(lines))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
