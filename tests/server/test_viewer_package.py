"""The viewer's package: fetched, checked, unpacked; and what is refused."""

import gzip
import tarfile
from pathlib import Path

import pytest

from fileroom_server.viewer_download import CannotInstallViewer, Download, check_integrity, download
from fileroom_server.viewer_package import install, installed_viewer, package_version, remove
from tests.server.viewer_packages import FILES, package, registry, sha512


def ignore(_done: int, _total: int | None) -> None:
    pass


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return package(tmp_path / "it.tgz")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data" / "viewer"


class TestInstall:
    def test_what_is_unpacked(self, archive: Path, folder: Path) -> None:
        assert installed_viewer(folder) is None
        installed = install(archive, folder, ignore)
        assert (installed.version, installed.folder) == ("9.9.9", folder)
        kept = {name.removeprefix("package/").removeprefix("dist/") for name in FILES if "/ort/" not in name}
        packed = {"app.bundle.0123456789abcdef.js.gz"}  # the others are too small
        assert names(folder) == kept | packed
        assert not list(folder.parent.glob(".*"))

    def test_it_can_live_below_any_path(self, archive: Path, folder: Path) -> None:
        install(archive, folder, ignore)
        bundle = (folder / "app.bundle.0123456789abcdef.js").read_bytes()
        assert b'"/"' not in bundle
        assert b"__webpack_require__.p = (self.PUBLIC_URL || " in bundle
        assert b"(self.PUBLIC_URL || '/') + 'dicom-microscopy-viewer/it.js'" in bundle
        assert gzip.decompress((folder / "app.bundle.0123456789abcdef.js.gz").read_bytes()) == bundle
        assert b"url(a.woff2)" in (folder / "app.bundle.css").read_bytes()
        assert b'"assets/a.png"' in (folder / "manifest.json").read_bytes()

    def test_of_a_minified_build(self, tmp_path: Path, folder: Path) -> None:
        files = FILES | {"package/dist/app.bundle.0123456789abcdef.js": b'(()=>{n.p="/"})(),x={p:"/"}'}
        install(package(tmp_path / "it.tgz", files), folder, ignore)
        bundle = (folder / "app.bundle.0123456789abcdef.js").read_text()
        assert bundle.startswith("(()=>{n.p = (self.PUBLIC_URL")
        assert bundle.endswith('x={p:"/"}')

    def test_a_second_one_replaces_the_first(self, archive: Path, folder: Path) -> None:
        install(archive, folder, ignore)
        (folder / "left.js").write_text("over")
        (folder.parent / ".viewer.fileroom-killed").mkdir()
        install(archive, folder, ignore)
        assert not (folder / "left.js").exists()
        assert [path.name for path in folder.parent.iterdir()] == ["viewer"]

    def test_what_is_something_else_is_not_replaced(self, archive: Path, tmp_path: Path) -> None:
        folder = tmp_path / "documents"
        folder.mkdir()
        (folder / "thesis.txt").write_text("ten years")
        with pytest.raises(CannotInstallViewer, match="holds something else"):
            install(archive, folder, ignore)
        assert names(folder) == {"thesis.txt"}

    def test_nothing_is_written_outside(self, tmp_path: Path, folder: Path) -> None:
        link = tarfile.TarInfo("package/dist/link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        hard = tarfile.TarInfo("package/dist/hard")
        hard.type, hard.linkname = tarfile.LNKTYPE, "package/LICENSE"
        device = tarfile.TarInfo("package/dist/device")
        device.type = tarfile.CHRTYPE
        bad = {
            "package/dist/../../../../outside.txt": b"1",
            "package/dist/a/../../up.txt": b"1",
            f"{tmp_path}/absolute.txt": b"1",
            "elsewhere/dist/x.js": b"1",
            "package/dist/package.json": b"{}",
        }
        install(package(tmp_path / "it.tgz", {**bad, **FILES}, link, hard, device), folder, ignore)
        assert {path.name for path in tmp_path.iterdir()} == {"it.tgz", "data"}
        assert not {"link", "hard", "device", "up.txt", "x.js"} & {path.name for path in folder.rglob("*")}
        installed = installed_viewer(folder)
        assert installed is not None
        assert installed.version == "9.9.9"

    @pytest.mark.parametrize(
        ("files", "said"),
        [
            ({"package/package.json": b'{"name": "left-pad", "version": "1.0.0"}'}, "is not the npm package @ohif/app"),
            ({name: FILES[name] for name in ("package/package.json",)}, "is not the npm package @ohif/app"),
            (FILES | {"package/dist/app.bundle.0123456789abcdef.js": b"var x;"}, "does not know"),
        ],
    )
    def test_a_wrong_package(self, tmp_path: Path, folder: Path, files: dict[str, bytes], said: str) -> None:
        with pytest.raises(CannotInstallViewer, match=said):
            install(package(tmp_path / "it.tgz", files), folder, ignore)
        assert not list(folder.parent.iterdir())

    def test_a_damaged_package_leaves_the_old_viewer(self, archive: Path, folder: Path) -> None:
        install(archive, folder, ignore)
        before = names(folder)
        archive.write_bytes(archive.read_bytes()[:-200])
        with pytest.raises(CannotInstallViewer, match="is damaged"):
            install(archive, folder, ignore)
        assert names(folder) == before
        assert [path.name for path in folder.parent.iterdir()] == ["viewer"]

    def test_a_file_that_is_no_archive(self, tmp_path: Path, folder: Path) -> None:
        file = tmp_path / "it.tgz"
        file.write_bytes(b"DICM" * 100)
        with pytest.raises(CannotInstallViewer, match="no package of npm"):
            install(file, folder, ignore)
        with pytest.raises(CannotInstallViewer, match="no package of npm"):
            package_version(file)

    def test_it_is_removed(self, archive: Path, folder: Path) -> None:
        assert remove(folder) is False
        install(archive, folder, ignore)
        assert remove(folder) is True
        assert not list(folder.parent.iterdir())


class TestDownload:
    def test_by_https(self, archive: Path, tmp_path: Path) -> None:
        content = archive.read_bytes()
        told: list[tuple[int, int | None]] = []
        with registry(content, sha512(content)) as url:
            what = Download("9.9.9", url)
            fetched = download(what, tmp_path, None, lambda done, total: told.append((done, total)))
        assert fetched.read_bytes() == content
        assert told[-1] == (len(content), len(content))

    def test_the_variable_of_npm_names_the_registry(
        self, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        content = archive.read_bytes()
        with registry(content, sha512(content)) as url:
            monkeypatch.setenv("npm_config_registry", f"{url}/")
            assert download(Download("9.9.9"), tmp_path, None, ignore).read_bytes() == content

    def test_another_content_than_promised(self, archive: Path, tmp_path: Path) -> None:
        with (
            registry(archive.read_bytes(), sha512(b"something else")) as url,
            pytest.raises(CannotInstallViewer, match="not the one that was published"),
        ):
            download(Download("9.9.9", url), tmp_path, None, ignore)

    def test_our_own_word_counts_more_than_the_registry(self, archive: Path, tmp_path: Path) -> None:
        content = archive.read_bytes()
        with (
            registry(content, sha512(content)) as url,
            pytest.raises(CannotInstallViewer, match="not the one that was published"),
        ):
            download(Download("9.9.9", url, sha512(b"what we want")), tmp_path, None, ignore)

    @pytest.mark.parametrize("version", ["3.13.2", "3.13.3"])
    def test_a_version_that_is_not_there(self, archive: Path, tmp_path: Path, version: str) -> None:
        content = archive.read_bytes()
        with (
            registry(content, sha512(content)) as url,
            pytest.raises(CannotInstallViewer, match=f"has no @ohif/app@{version}; name another registry"),
        ):
            download(Download(version, url), tmp_path, None, ignore)

    def test_no_network(self, tmp_path: Path, free_port: int) -> None:
        with pytest.raises(CannotInstallViewer, match=r"cannot be reached: .*refused.*--from FILE\.tgz"):
            download(Download(registry=f"http://127.0.0.1:{free_port}"), tmp_path, None, ignore)

    def test_what_is_no_registry(self, archive: Path, tmp_path: Path) -> None:
        with (
            registry(archive.read_bytes(), "md5-old") as url,
            pytest.raises(CannotInstallViewer, match="does not answer as an npm registry"),
        ):
            download(Download("9.9.9", url), tmp_path, None, ignore)

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"version": "latest; rm -rf /"}, "is no version"),
            ({"version": "--help"}, "is no version"),
            ({"registry": "file:///etc"}, "a registry is a URL"),
            ({"integrity": "sha1-abc"}, "an integrity is written"),
        ],
    )
    def test_what_cannot_be_meant(self, options: dict[str, str], said: str) -> None:
        with pytest.raises(CannotInstallViewer, match=said):
            Download(**options)

    def test_npm_that_fails_is_quoted(self, tmp_path: Path) -> None:
        npm = tmp_path / "npm"
        npm.write_text("#!/bin/sh\necho 'npm error code E404' >&2\necho 'npm error no such package' >&2\nexit 1\n")
        npm.chmod(0o755)
        with pytest.raises(CannotInstallViewer, match=r"npm could not fetch @ohif/app@9.9.9: no such package\. See"):
            download(Download("9.9.9"), tmp_path, str(npm), ignore)


def test_integrity(archive: Path) -> None:
    check_integrity(archive, sha512(archive.read_bytes()))
    with pytest.raises(CannotInstallViewer, match="--integrity"):
        check_integrity(archive, sha512(b""))
