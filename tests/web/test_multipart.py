"""The parser of uploads takes files and refuses form fields, which it would hold in memory."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from gradio import route_utils
from starlette.datastructures import FormData, Headers
from starlette.formparsers import MultiPartException

from gen.web.multipart import FilesOnly, install


def parse(disposition: str) -> FormData:
    body = f"--x\r\nContent-Disposition: form-data; {disposition}\r\n\r\nabc\r\n--x--\r\n".encode()

    async def stream() -> AsyncIterator[bytes]:
        yield body

    headers = Headers({"content-type": "multipart/form-data; boundary=x"})
    return asyncio.run(FilesOnly(headers, stream(), max_file_size=1000).parse())


def test_a_file_is_taken():
    (upload,) = parse('name="files"; filename="a.png"').getlist("files")
    assert upload.filename == "a.png"


def test_a_field_is_refused():
    with pytest.raises(MultiPartException, match="files only"):
        parse('name="files"')


def test_gradio_uses_it():
    install()
    assert route_utils.GradioMultiPartParser is FilesOnly
