"""The example of docs/examples runs, and DICOMweb works inside it."""

import importlib.util
from pathlib import Path

from tests.dicomweb.objects import data_set, json_of, part10

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "own_flask_app.py"


def test_the_example(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("own_flask_app", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    app = example.create_app(tmp_path)
    try:
        client = app.test_client()
        assert client.get("/").text == "DICOMweb is at /images/dicom-web"
        ds = data_set()
        root = "http://localhost/images/dicom-web"
        stored = client.post("/images/dicom-web/studies", data=part10(ds), content_type="application/dicom")
        assert json_of(stored)["00081190"]["Value"] == [f"{root}/studies/{ds.StudyInstanceUID}"]
        (study,) = json_of(client.get("/images/dicom-web/studies"))
        assert client.get(study["00081190"]["Value"][0]).status_code == 200
        problem = client.get("/images/dicom-web/studies?limit=x")
        assert (problem.status_code, problem.content_type) == (400, "application/problem+json")
        # the rest of the application keeps its own errors
        assert client.get("/nothing").mimetype == "text/html"
    finally:
        app.extensions["fileroom"].close()
