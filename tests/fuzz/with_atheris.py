"""A target under atheris, which is led by what the code does: `make fuzz-atheris TARGET=json`, for SECONDS.

What it finds is written to fuzz-corpus/<target>/, and belongs into tests/fuzz/regressions/<target>/ once repaired.
"""

import sys
from pathlib import Path

import atheris  # type: ignore[import-not-found, import-untyped, unused-ignore]  # of the extra "fuzz"

with atheris.instrument_imports(include=["fileroom_storage", "fileroom_dicomweb", "fileroom_server"]):
    from tests.fuzz.test_targets import REGRESSIONS, TARGETS


def main() -> None:
    """TARGET SECONDS; further arguments are libFuzzer's."""
    name, seconds, *arguments = sys.argv[1:]
    target = TARGETS[name]
    found = Path("fuzz-corpus") / name
    corpus = found / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    known = REGRESSIONS / name
    folders = [str(corpus), *([str(known)] if known.is_dir() else [])]
    options = [f"-max_total_time={seconds}", f"-artifact_prefix={found}/", "-timeout=20", "-rss_limit_mb=4096"]
    atheris.Setup([sys.argv[0], *options, *arguments, *folders], target.run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
