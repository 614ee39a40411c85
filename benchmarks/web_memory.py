"""Memory of the web server over many translations, which should stay constant, and the time to its first page.

python benchmarks/web_memory.py [--count 200] [--adapt FOLDER]

--adapt: beside an adaptation to the pictures of a folder, which it waits for at the end.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from gradio_client import Client, handle_file

FRAME = Path("samples/adverse/night/000010.jpg")


def resident(process: int) -> float:
    """Resident memory of a process in MB, from /proc."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def start_adaptation(client: Client, folder: Path, images: int) -> str:
    """Adapt the shipped generator to the first ten pictures of `folder`; returns the number of the job."""
    pictures = [handle_file(path) for path in sorted(folder.iterdir())[:10]]
    fields = ["pictures", pictures, 1.0, *["", None, 1.0] * 3]
    return client.predict("stylegan2-faces64", images, *fields, api_name="/start_adaptation")


def main() -> None:
    """Start `app.py`, send translations through its API, and print its memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--port", type=int, default=7955)
    parser.add_argument("--adapt", type=Path)
    parser.add_argument("--images", type=int, default=800, help="that the adaptation shows")
    arguments = parser.parse_args()
    url = f"http://127.0.0.1:{arguments.port}/"
    with tempfile.TemporaryDirectory() as results:
        began = time.perf_counter()
        command = [sys.executable, "app.py", "--port", str(arguments.port), "--results", results]
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while True:
                try:
                    urllib.request.urlopen(url).read()
                    break
                except urllib.error.URLError:
                    time.sleep(0.05)
            print(f"first page after {time.perf_counter() - began:.1f} s", flush=True)
            client = Client(url, verbose=False)
            job = start_adaptation(client, arguments.adapt, arguments.images) if arguments.adapt else None
            seconds = []
            for number in range(1, arguments.count + 1):
                began = time.perf_counter()
                client.predict(
                    handle_file(FRAME), "adverse_to_normal", "augan-night2day", "fast", 0.8, api_name="/translate"
                )
                seconds.append(time.perf_counter() - began)
                if number == 1 or number % 20 == 0:
                    print(f"{number} translations: {resident(server.pid):.0f} MB", flush=True)
            print(f"median of a translation: {1000 * statistics.median(seconds):.0f} ms")
            while job and (state := client.predict(job, api_name="/job"))["state"] in ("waiting", "running"):
                time.sleep(1)
            if job:
                print(f"adaptation: {state['state']}, {state['said']}")
        finally:
            server.terminate()
            server.wait(30)


if __name__ == "__main__":
    main()
