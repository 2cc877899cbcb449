"""What import-linter cannot say: no package imports a plugin, whichever plugins there will be."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = {"storage": "fileroom_storage", "dicomweb": "fileroom_dicomweb", "server": "fileroom_server"}


def imported(file: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_bytes())):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize(("folder", "package"), PACKAGES.items())
def test_no_package_imports_a_plugin(folder: str, package: str) -> None:
    files = sorted((ROOT / folder / package).rglob("*.py"))
    assert files
    for file in files:
        ours = {name for name in imported(file) if name.startswith("fileroom_")}
        assert ours <= set(PACKAGES.values()), file
