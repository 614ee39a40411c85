"""Metadata of a container: kept in the output, and what could not be kept."""

from collections.abc import Iterable, Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from av.container import InputContainer

from gen.media.video.boxes import lost_boxes
from gen.media.video.cropping import is_cropped
from gen.media.video.libav import open_input
from gen.media.video.unread import lost_chunks, lost_packets

if TYPE_CHECKING:
    from av.container.core import Chapter  # a name of PyAV's stubs alone

TECHNICAL = {
    "major_brand", "minor_version", "compatible_brands", "encoder", "software", "comment", "creation_time", "duration",
    "handler_name", "vendor_id", "language", "number_of_frames", "number_of_bytes", "bps", "_statistics_writing_app",
    "_statistics_writing_date_utc", "_statistics_tags", "writing_library", "writing_application",
}  # fmt: skip
"""Keys that describe the file itself and are written anew, or that have a place of their own."""

ITUNES = {
    "title", "artist", "album_artist", "composer", "album", "date", "comment", "genre", "copyright", "grouping",
    "lyrics", "description", "synopsis", "show", "episode_id", "network", "keywords", "episode_sort", "season_number",
    "media_type", "hd_video", "gapless_playback", "compilation", "track", "disc", "location", "creation_time",
}  # fmt: skip
"""Keys that mp4 and mov have a standard box for; all others need ffmpeg's use_metadata_tags."""


def with_mark(metadata: Mapping[str, str], mark: str | None) -> dict[str, str]:
    """The metadata with `mark` as the comment, before the comment that was there."""
    if mark is None:
        return dict(metadata)
    comment = next((value for key, value in metadata.items() if key.lower() == "comment"), "")
    kept = {key: value for key, value in metadata.items() if key.lower() != "comment"}
    return kept | {"comment": f"{mark} | {comment}" if comment and comment != mark else mark}


def of_track(metadata: Mapping[str, str], cut: bool) -> dict[str, str]:
    """The metadata of a track, as `within`. mp4 and mov call its title its name when they are read."""
    kept = within(metadata, cut)
    return {"title" if key.lower() == "name" and "title" not in kept else key: text for key, text in kept.items()}


def within(metadata: Mapping[str, str], cut: bool) -> dict[str, str]:
    """The metadata of a part; `cut`: whether it begins later than the clip, whose time code would be wrong there."""
    return {key: value for key, value in metadata.items() if not (cut and key.lower() == "timecode")}


def muxer_options(suffix: str, metadata: Mapping[str, str]) -> dict[str, str]:
    """Options with which the container takes all keys."""
    special = {key.lower().partition("-")[0] for key in metadata} - ITUNES - TECHNICAL
    return {"movflags": "use_metadata_tags"} if suffix in (".mp4", ".mov") and special else {}


def chapters_within(chapters: list["Chapter"], origin: Fraction, end: Fraction | None) -> list["Chapter"]:
    """The chapters between `origin` and `end`, in seconds, counted from `origin`."""
    kept: list[Chapter] = []
    for chapter in chapters:
        base = chapter["time_base"] or Fraction(1)
        start = max(chapter["start"] - round(origin / base), 0)
        last = chapter["end"] - round(origin / base)
        last = last if end is None else min(last, round((end - origin) / base))
        if start < last:
            kept.append({**chapter, "start": start, "end": last, "time_base": base})
    return kept


def lost_metadata(
    source: InputContainer,
    source_path: Path,
    output: Path,
    tracks: Iterable[Mapping[str, str]],
    chapters: list["Chapter"],
) -> Iterator[str]:
    """What a finished output lacks of the source's metadata, in words.

    `tracks`: metadata of the tracks that it should have; `chapters`: those that it should have.
    """
    with open_input(output) as written:
        have = _keys(written.metadata)
        lost = sorted(_keys(source.metadata) - have - TECHNICAL)
        if lost:
            yield f"metadata: {', '.join(lost)}"
        if lost := _lost_of_parts(tracks, [s.metadata for s in written.streams]):
            yield f"metadata of tracks: {', '.join(lost)}"
        if len(written.chapters()) < len(chapters):
            yield "chapters"
        elif lost := _lost_of_parts([c["metadata"] for c in chapters], [c["metadata"] for c in written.chapters()]):
            yield f"metadata of chapters: {', '.join(lost)}"
    if is_cropped(source_path, source.format.name):
        yield "the container's crop: the whole frames are there"
    if "mp4" in source.format.name:
        yield from lost_boxes(source_path)
    elif source.format.name == "avi":
        yield from lost_chunks(source_path)
    elif source.format.name == "mpegts":
        yield from lost_packets(source_path, {stream.id for stream in source.streams})


def _lost_of_parts(wanted: Iterable[Mapping[str, str]], have: Iterable[Mapping[str, str]]) -> list[str]:
    """Keys with a text that no track or chapter of the output has."""
    texts = {text for metadata in have for text in metadata.values()}
    lost = {key.lower() for metadata in wanted for key, text in metadata.items() if text not in texts}
    return sorted(lost - (TECHNICAL - {"comment"}) - {"alpha_mode"})


def _keys(metadata: Mapping[str, str]) -> set[str]:
    """Keys in lower case without their language, which containers spell in different ways."""
    return {key.lower().partition("-")[0] for key in metadata}
