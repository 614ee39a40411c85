"""The domains of the Adapt tab: a name, pictures and a weight each, with small views of the pictures."""

import shutil
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr

from gen.errors import BadInput, GenError
from gen.web.events import PRIVATE, event
from gen.web.limits import check_number
from gen.web.names import safe_name
from gen.web.service import Service
from gen.web.thumbnails import save_thumbnail
from gen.web.uploads import gather

MAX_DOMAINS = 4
MAX_SHOWN = 24
"""Most pictures of a domain that are shown."""
EXAMPLES = ("sketch", "sunglasses", "caricature", "oil painting")


class DomainFields:
    """The fields of up to four domains, of which those in use are shown."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.fields: list[Any] = []
        """Name, pictures and weight of each domain."""

    def build(self) -> None:
        """Lay them out. Only the first domain is shown; a button shows another, and one in each row removes it."""
        rows: list[Any] = []
        removers: list[Any] = []
        for number in range(1, MAX_DOMAINS + 1):
            with gr.Column(visible=number == 1) as row:
                with gr.Row():
                    example = f"for example {EXAMPLES[number - 1]}"
                    name = gr.Textbox(label=f"Domain {number}: name", placeholder=example, min_width=220)
                    files = gr.File(
                        label=f"Domain {number}: about ten pictures",
                        file_count="multiple",
                        height=140,
                        scale=2,
                        min_width=220,
                    )
                    with gr.Column(min_width=220):
                        weight = gr.Slider(
                            0.1,
                            3,
                            1,
                            step=0.1,
                            label=f"Domain {number}: weight",
                            info="Larger, if it comes out too weak",
                        )
                        removers.append(gr.Button("Remove this domain", size="sm", visible=number > 1))
                shown = gr.Gallery(
                    visible=False,
                    show_label=False,
                    columns=12,
                    height="auto",
                    allow_preview=False,
                    interactive=False,
                    object_fit="contain",
                    buttons=[],
                    elem_classes="uploaded",
                )
                files.change(self.look, [files], [shown], **PRIVATE)
            self.fields += [name, files, weight]
            rows.append(row)
        add, used = gr.Button("Add a domain"), gr.State([True, *[False] * (MAX_DOMAINS - 1)])
        add.click(_one_more, [used], [used, add, *rows], **PRIVATE)
        for index, remove in enumerate(removers):
            emptied = self.fields[3 * index : 3 * index + 3]
            remove.click(partial(_one_less, index), [used], [used, add, *rows, *emptied], **PRIVATE)

    @event("files")
    def look(self, files: Any) -> Any:
        """Small views of the pictures that were chosen; hidden if none of them is a picture."""
        views: list[str] = []
        if isinstance(files, list) and files:
            with suppress(GenError), self.service.new_folder() as folder:
                taken, _ = gather(files, folder / "input", self.service.limits(), clips=False)
                for index, file in enumerate(taken[:MAX_SHOWN]):
                    with suppress(GenError, OSError):
                        views.append(str(save_thumbnail(file, folder / f"{index}.jpg")))
                shutil.rmtree(folder / "input")
        return gr.Gallery(views, visible=bool(views))


def gather_domains(service: Service, fields: tuple[Any, ...], folder: Path) -> tuple[list[str], list[str]]:
    """Copy the pictures to `folder`. `fields`: name, files and weight of each domain; those without files are unused.

    Returns `NAME=FOLDER:WEIGHT` of each domain, and rejected files. Raises `BadInput` if there is no domain, or one has
    a name but no pictures.
    """
    domains: list[str] = []
    problems: list[str] = []
    for number, (name, files, weight) in enumerate(zip(fields[::3], fields[1::3], fields[2::3], strict=True), 1):
        if not files:
            if isinstance(name, str) and name.strip():
                raise BadInput(f"The domain {safe_name(name)} has no pictures; add about ten, or remove the domain.")
            continue
        # The name becomes part of NAME=FOLDER:WEIGHT and of file names, so it holds no separators.
        name = safe_name(name or f"domain{number}").replace(" ", "-").replace("_", "-")
        if any(domain.startswith(f"{name}=") for domain in domains):
            raise BadInput(f"Two domains are called {name}; give each another name.")
        path = folder / "input" / f"{len(domains)}-{name}"
        path.parent.mkdir(exist_ok=True)
        weight = check_number(f"weight of {name}", weight, 0.01, 100)
        problems += gather(files, path, service.limits(), clips=False)[1]
        domains.append(f"{name}={path}:{weight:g}")
    if not domains:
        raise BadInput("No pictures were given; each domain needs about ten.")
    return domains, problems


def domain_names(inputs: Mapping[str, Any]) -> str:
    """The domains of an Adapt job, from its inputs: "sketch + sunglasses"."""
    domains = inputs.get("domains")
    return " + ".join(str(domain).partition("=")[0] for domain in domains) if isinstance(domains, list) else ""


def _rows(used: list[bool]) -> list[Any]:
    """Which domains are in use; the button to add one, unless all are; and the domains in use."""
    return [used, gr.Button(visible=not all(used)), *(gr.Column(visible=shown) for shown in used)]


def _checked(used: Any) -> list[bool]:
    """Which domains are in use; a script may send anything."""
    whole = isinstance(used, list) and len(used) == MAX_DOMAINS
    return [True, *map(bool, used[1:])] if whole else [True, *[False] * (MAX_DOMAINS - 1)]


def _one_more(used: Any) -> list[Any]:
    used = _checked(used)
    if not all(used):
        used[used.index(False)] = True
    return _rows(used)


def _one_less(index: int, used: Any) -> list[Any]:
    """Hides a domain and empties its fields."""
    used = _checked(used)
    used[index] = index == 0
    return [*_rows(used), "", None, 1]
