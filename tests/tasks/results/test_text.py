from tasks.models import FileResult
from tasks.results.text import labels


def test_sources_of_one_name_are_labelled_with_their_paths() -> None:
    rows = [
        FileResult(path.rpartition("/")[2], preset, None, "failed", path=path)
        for path in ("/x/a.mp4", "az://media/a.mp4", "/x/b.mp4")
        for preset in ("mp3", "flac")
    ]
    assert labels(rows) == [
        *("/x/a.mp4", "/x/a.mp4"),
        *("az://media/a.mp4", "az://media/a.mp4"),
        *("b.mp4", "b.mp4"),
    ]
