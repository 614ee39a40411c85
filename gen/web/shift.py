"""The tab that measures how far image domains are apart."""

import json
from typing import Any

import gradio as gr

from gen.errors import BadInput
from gen.web.limits import gather, plain
from gen.web.service import RENDER, Service, plainly

MOST_DOMAINS = 4
HEAD = ["domain", "images", "classes", "ICV (nats²)", "mean pair D_JS (nats)", "IDD from ImageNet (nats)"]
KEYS = ["domain", "images", "classes", "icv", "icv_mean", "idd"]


class ShiftTab:
    """Uploads in, table and plots out."""

    def __init__(self, service: Service) -> None:
        self.service = service
        with gr.Tab("Domain shift", id="shift"):
            gr.Markdown(
                "Two or more sets of pictures. ICV: how much a domain varies in itself; IDD: how far it is from "
                "another. Zips with a folder for each class give a finer ICV."
            )
            fields: list[Any] = []
            with gr.Row():
                for letter in "ABCD"[:MOST_DOMAINS]:
                    with gr.Column(min_width=220):
                        fields.append(gr.Textbox(label=f"Domain {letter}: name", placeholder=f"domain {letter}"))
                        fields.append(
                            gr.File(label=f"Domain {letter}: pictures or a zip", file_count="multiple", height=140)
                        )
            button = gr.Button("Measure", variant="primary")
            table = gr.Dataframe(headers=HEAD, label="Shift", interactive=False, wrap=True)
            notes = gr.Markdown()
            with gr.Row():
                scatter = gr.Image(label="ICV and IDD", format="png", interactive=False)
                pairs = gr.Image(label="IDD of all pairs", format="png", interactive=False)
            file = gr.File(label="Download: table.csv", interactive=False, elem_classes="downloads")
            outputs = [table, notes, scatter, pairs, file]
            button.click(self.measure, fields, outputs, api_name="measure_shift", **RENDER)

    @plainly
    def measure(self, *fields: Any) -> tuple[Any, ...]:
        """How far image domains are apart.

        Args:
            fields: name and pictures (or a zip) of two to four domains

        Returns:
            the table, notes, scatter plot, heat map, and the csv file
        """
        from gen.shift.survey import MeasureShiftSettings, run

        folder = self.service.new_folder()
        roots: list[Any] = []
        notes: list[str] = []
        for name, files in zip(fields[::2], fields[1::2], strict=True):
            if files:
                place = folder / "input" / plain(name or f"domain {'ABCD'[len(roots)]}")
                place.parent.mkdir(exist_ok=True)
                if place.exists():
                    raise BadInput(f"{name}: two domains have this name.")
                notes += gather(files, place, self.service.settings, clips=False)[1]
                inner = list(place.iterdir())
                roots.append(place / inner[0].name if len(inner) == 1 and inner[0].is_dir() else place)
                if roots[-1] != place:  # a zip's own folder is not a class
                    roots[-1] = roots[-1].rename(place.with_name(f"{place.name}~"))
                    place.rmdir()
                    roots[-1] = roots[-1].rename(place)
        if len(roots) < 2:
            raise BadInput("Two domains are needed; choose pictures for at least two.")
        run(MeasureShiftSettings(roots=tuple(roots), out=folder / "out", workers=2))
        record = json.loads((folder / "out" / "table.json").read_text(encoding="utf-8"))
        rows = [[_shown(domain.get(key)) for key in KEYS] for domain in record["domains"]]
        notes += [*record["notes"], *record["failed"].values()]
        out = folder / "out"
        said = "\n".join(f"- {note}" for note in notes)
        return rows, said, str(out / "scatter.png"), str(out / "pairwise.png"), str(out / "table.csv")


def _shown(value: Any) -> Any:
    return f"{value:.4f}" if isinstance(value, float) else value
