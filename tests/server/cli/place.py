"""A data folder and a database to run commands on."""

from pathlib import Path

from tests.server.cli.commands import fileroom, outcomes


class Place:
    """A data folder and a database, and commands on them."""

    def __init__(self, data: Path, database: str) -> None:
        self.data = data
        self.database = database
        self._where = ("--data", str(data), "--database", database)

    def run(self, *arguments: str | Path) -> tuple[int, str, str]:
        finished = fileroom(*arguments, *self._where)
        return finished.returncode, finished.stdout, finished.stderr

    def store(self, folder: Path) -> None:
        finished = fileroom("import", "--jobs", "1", folder, *self._where)
        assert finished.returncode == 0, finished.stderr
        assert outcomes(finished)["stored", ""]

    def objects(self) -> list[Path]:
        return sorted((self.data / "objects").rglob("*.dcm"))
