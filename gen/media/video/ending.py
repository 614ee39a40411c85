"""Where a clip ends, and whether that is where its header says."""

from fractions import Fraction

import av
from av.container import InputContainer

from gen.media.video.decoder import VideoDecoder

UNDECLARED_LOSS = Fraction(1, 4)
"""Seconds that may be missing at the end of a clip that declares a duration but no frame count, because the last frame
may be shown for longer than its packet says."""

UNREAD = 1_000_000
"""Bytes of a file in which a demuxer may find nothing. If it is more than half of the file too, it is said."""


def end_of_picture(decoder: VideoDecoder, last: int, part_end: int | None) -> int:
    """When the frame at `last` ends, in the decoder's units; `part_end`: where the part that is read ends.

    Packets of mp4 declare their part of the decode times; only their sum is right for frames shown out of order.
    """
    stream = decoder.stream
    declared = None
    if stream.duration and stream.start_time is not None:
        declared = round((stream.start_time + stream.duration) * (stream.time_base or 0) / decoder.time_base)
    ends = [end for end in (declared, decoder.end, part_end) if end is not None and end > last]
    return min(ends, default=last + max(1, round(1 / decoder.rate / decoder.time_base)))


def early_end(container: InputContainer, decoder: VideoDecoder) -> str | None:
    """A sentence if a file that was read to its end is shorter than its header declares, else None."""
    stream, end, declared = decoder.stream, (decoder.end or 0) * decoder.time_base, max(0, decoder.stream.frames)
    if declared:
        length = ((stream.duration or 0) + (stream.start_time or 0)) * (stream.time_base or 0)
        have = f"{declared} frames, and {decoder.packets} are there"
        avi = container.format.name == "avi"
        if avi:  # ffmpeg shortens the duration to what is there; the rate is constant, and dropped frames count
            length = max(length, declared / decoder.rate)
            have = f"{float(length):.1f} s, and {float(end):.1f} s are there"
        # 1.5 frames: rounding of timestamps must not count as an early end. Packets are counted, not frames, because a
        # trimmed clip has frames that are not shown.
        short = not stream.duration or length - end > Fraction(3, 2) / decoder.rate
        early = decoder.packets < declared and short
    else:
        avi = False
        length = Fraction(container.duration or 0, av.time_base)
        # Durations count from zero, or from the start of a clock that was set back below zero (MPEG-TS).
        zero = min(Fraction(container.start_time or 0, av.time_base), Fraction(0))
        early = length - (max(end, decoder.others_end) - zero) > UNDECLARED_LOSS
        have = f"{float(length):.1f} s, and {float(end):.1f} s are there"
    if container.format.name == "asf" and not container.duration:  # ffmpeg believes it only if the file's size agrees
        return "The file is not as long as its header declares; it may be cut or damaged."
    if early:
        inside = ", or frames inside are missing and what follows is shown too early" if avi else ""
        return f"The file ends early{inside}: its header declares {have}."
    if container.size - decoder.bytes > max(UNREAD, container.size / 2):
        return f"Only {decoder.bytes / 1e6:.1f} of {container.size / 1e6:.1f} MB could be read; the rest is no packet."
    return None
