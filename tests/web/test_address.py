"""The port that the page takes, and what is said if it cannot."""

import os
import socket

import pytest

from gen.errors import BadSetting
from gen.web.address import choose_port, without_proxy
from gen.web.app import build_app
from gen.web.settings import WebSettings


@pytest.fixture
def busy():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def test_a_busy_port_is_named_with_a_free_one(busy):
    with pytest.raises(BadSetting, match=rf"port={busy}: another program listens on this port; port=\d+ is free"):
        choose_port(WebSettings(port=busy))


def test_any_free_port():
    assert choose_port(WebSettings(port=0)) > 1023
    assert 7860 <= choose_port(WebSettings()) < 7960


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (WebSettings(port=70_000), "port must be from 0 to 65535, not 70000"),
        (WebSettings(port=-1), "port must be from 0 to 65535"),
        (WebSettings(host="192.0.2.1", port=0), "this machine has no such address"),
        (WebSettings(host="no such host"), "unknown host name"),
    ],
)
def test_what_can_never_be_listened_on(settings, words):
    with pytest.raises(BadSetting, match=words):
        choose_port(settings)


def test_a_low_port_without_permission(monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(BadSetting, match="port=80: not permitted; ports below 1024"):
        choose_port(WebSettings(port=80))


def test_the_proxy_stays_as_it_was(monkeypatch):
    monkeypatch.setenv("no_proxy", "intranet")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with without_proxy("gen.local"):
        assert os.environ["no_proxy"] == os.environ["NO_PROXY"] == "intranet,localhost,127.0.0.1,::1,gen.local"
    assert os.environ["no_proxy"] == "intranet"
    assert "NO_PROXY" not in os.environ


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BadSetting, match="the folder cannot be created"):
        build_app(WebSettings(results=tmp_path / "file" / "results"))
