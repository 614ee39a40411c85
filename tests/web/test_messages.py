"""Messages for visitors say nothing of where files lie on the server."""

from pathlib import Path

import pytest

from gen.web.messages import Messages


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("{results}/jobs/{job}/input/night one.jpg: broken", "night one.jpg: broken"),
        ("{results}/uploads/{hash}/a.png: the image is truncated.", "a.png: the image is truncated."),
        ("cannot write {results}/jobs/{job}/output/x/b.png.", "cannot write x/b.png."),
        ("[Errno 17] File exists: '{results}/jobs/{job}/input/z/a.jpg'", "[Errno 17] File exists: 'z/a.jpg'"),
        ("/etc/ssl/private/key.pem: no such file", "key.pem: no such file"),
        ("{cwd}/weights/x: the model cannot be loaded", "weights/x: the model cannot be loaded"),
        ("no such file: /root", "no such file: root"),
        ("either/or, 5 km/h, https://a.example/b/c, a/b/c.png", "either/or, 5 km/h, https://a.example/b/c, a/b/c.png"),
        ("{root}/night/a.jpg: broken", "night/a.jpg: broken"),
    ],
)
def test_paths_lose_their_folders(tmp_path, text, plain):
    messages = Messages(tmp_path / "web", tmp_path / "share d")
    names = {
        "results": tmp_path / "web",
        "job": "j" * 22,
        "hash": "0" * 64,
        "cwd": Path.cwd(),
        "root": tmp_path / "share d",
    }
    assert messages.plain(text.format(**names)) == plain
