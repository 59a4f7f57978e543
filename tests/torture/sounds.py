"""Short sounds in every format that mt-tag reads, made by soundfile, ffmpeg and by hand."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import soundfile

RATE = 44100
SECONDS = 1.2

# What ffmpeg makes of a sound: ending of the name, options. No tags of its own, no dates.
_FFMPEG = {
    "mp3": ("mp3", "-c:a libmp3lame -b:a 64k -id3v2_version 0"),
    "mp3-vbr": ("mp3", "-c:a libmp3lame -q:a 5 -ac 2 -id3v2_version 0"),
    "mp3-no-index": ("mp3", "-c:a libmp3lame -b:a 96k -write_xing 0 -id3v2_version 0"),
    "mp3-22k": ("mp3", "-c:a libmp3lame -b:a 48k -ar 22050 -id3v2_version 0"),
    "mp3-8k": ("mp3", "-c:a libmp3lame -b:a 16k -ar 8000 -id3v2_version 0"),
    "mp2": ("mp2", "-c:a mp2 -b:a 96k -ac 2"),
    "flac": ("flac", "-c:a flac"),
    "flac-24": ("flac", "-c:a flac -sample_fmt s32 -ar 48000 -ac 2"),
    "ogg": ("ogg", "-c:a libvorbis -q:a 1"),
    "opus": ("opus", "-c:a libopus -b:a 32k"),
    "ogg-flac": ("oga", "-c:a flac -f ogg"),
    "speex": ("spx", "-c:a libspeex -ar 16000 -f ogg"),
    "m4a": ("m4a", "-c:a aac -b:a 64k -movflags +faststart"),
    "m4a-last": ("m4a", "-c:a aac -b:a 64k -ac 2"),
    "alac": ("m4a", "-c:a alac"),
    "mp4-fragments": ("mp4", "-c:a aac -b:a 64k -movflags +frag_keyframe+empty_moov"),
    "wma": ("wma", "-c:a wmav2 -b:a 64k"),
    "wma1": ("wma", "-c:a wmav1 -b:a 64k"),
    "wavpack": ("wv", "-c:a wavpack"),
    "tta": ("tta", "-c:a tta"),
    "mka": ("mka", "-c:a libvorbis"),
    "aac": ("aac", "-c:a aac -b:a 64k -f adts"),
    "wav-adpcm": ("wav", "-c:a adpcm_ms"),
    "wav-rf64": ("wav", "-c:a pcm_s16le -rf64 always"),
}
_SOUNDFILE = {
    "wav": ("wav", "WAV", "PCM_16", 1),
    "wav-odd": ("wav", "WAV", "PCM_U8", 1),  # an odd number of samples: a byte of padding
    "wav-24": ("wav", "WAVEX", "PCM_24", 2),
    "wav-float": ("wav", "WAV", "FLOAT", 2),
    "wav-ulaw": ("wav", "WAV", "ULAW", 1),
    "wav-6": ("wav", "WAVEX", "PCM_16", 6),
    "rf64": ("rf64", "RF64", "PCM_16", 1),
    "w64": ("w64", "W64", "PCM_16", 1),
    "aiff": ("aiff", "AIFF", "PCM_16", 1),
    "aiff-odd": ("aif", "AIFF", "PCM_S8", 1),
    "aiff-float": ("aifc", "AIFF", "FLOAT", 1),
    "au": ("au", "AU", "PCM_16", 1),
    "snd": ("snd", "AU", "FLOAT", 2),
    "caf": ("caf", "CAF", "PCM_16", 1),
    "flac-8": ("flac", "FLAC", "PCM_16", 8),
    "mp3-lsf": ("mp3", "MP3", "MPEG_LAYER_III", 1),
}

Sounds = dict[str, tuple[str, bytes]]
"""The bytes of a file of each format, after the ending of its name."""


def make_sounds(folder: Path, seed: int) -> Sounds:
    """Return a sound in every format that can be made here; works in an empty folder.

    Musepack needs the program `mpcenc` (of musepack-tools); it is left out where that is not.
    """
    made: Sounds = {}
    for number, (form, (ending, kind, subtype, channels)) in enumerate(_SOUNDFILE.items()):
        path = folder / f"{form}.{ending}"
        rate = 22050 if form == "mp3-lsf" else RATE
        # An odd number of frames, so that bytes and 24-bit samples end on an odd byte.
        soundfile.write(path, wave(seed + number, channels, rate), rate, subtype, format=kind)
        made[form] = ending, path.read_bytes()
    source = folder / "source.wav"
    line = ["ffmpeg", "-v", "error", "-nostdin", "-y"]
    for number in range(len(_FFMPEG)):
        path = folder / f"source{number}.wav"
        soundfile.write(path, wave(seed + 100 + number), RATE)
        line += ["-i", str(path)]
    for number, (form, (ending, options)) in enumerate(_FFMPEG.items()):
        line += ["-map", f"{number}:a", "-map_metadata", "-1", "-fflags", "+bitexact"]
        line += ["-flags:a", "+bitexact", *options.split(), str(folder / f"{form}.{ending}")]
    subprocess.run(line, check=True)
    made |= {f: (e, (folder / f"{f}.{e}").read_bytes()) for f, (e, _) in _FFMPEG.items()}
    made["m4b"] = "m4b", _audiobook(folder)
    made["ape"] = "ape", silent_ape(2)
    made["ogg-chained"] = "ogg", made["ogg"][1] + _other_ogg(folder, seed)
    if shutil.which("mpcenc"):
        soundfile.write(source, wave(seed + 300, 2), RATE)
        path = folder / "mpc.mpc"
        line = ["mpcenc", "--silent", "--overwrite", str(source), str(path)]
        subprocess.run(line, check=True, capture_output=True)
        made["mpc"] = "mpc", path.read_bytes()
    return dict(sorted(made.items()))


def wave(seed: int, channels: int = 1, rate: int = RATE) -> np.ndarray:
    """Return a chord with some noise, [frames, channels], the same for the same seed."""
    rng = np.random.default_rng(seed)
    time = np.arange(int(SECONDS * rate) | 1)[:, None] / rate
    pitches = rng.uniform(60, 2000, size=(3, channels))
    chord = sum(np.sin(2 * np.pi * pitch * time) for pitch in pitches)
    noise = rng.normal(size=(len(time), channels)) * rng.uniform(0, 1)
    return 0.15 * chord + 0.1 * noise


def _audiobook(folder: Path) -> bytes:
    chapters = folder / "chapters.txt"
    chapters.write_text(
        ";FFMETADATA1\ntitle=A book\n"
        "[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=500\ntitle=One\n"
        "[CHAPTER]\nTIMEBASE=1/1000\nSTART=500\nEND=1200\ntitle=Two\n"
    )
    path = folder / "book.m4b"
    line = f"-i {folder}/source0.wav -i {chapters} -map 0:a -map_metadata 1 -c:a aac -f ipod"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-nostdin", "-y", *line.split(), str(path)], check=True
    )
    return path.read_bytes()


def _other_ogg(folder: Path, seed: int) -> bytes:
    path = folder / "second.ogg"
    soundfile.write(path, wave(seed + 200), RATE, "VORBIS", format="OGG")
    return path.read_bytes()


def silent_ape(channels: int, frames: int = 30000) -> bytes:
    """Return a file of Monkey's Audio of silence: the one sound that needs no encoder.

    A frame is a checksum whose highest bit announces flags, the flags (3: silence in all channels),
    and what a range decoder reads before it finds that nothing follows. Source: the format of
    version 3.99, as `libavformat/ape.c` and `libavcodec/apedec.c` of FFmpeg read it.
    """
    sound = (0x80000000).to_bytes(4, "little") + (3).to_bytes(4, "little") + bytes(16)
    header = b"".join(
        number.to_bytes(size, "little")
        for number, size in [
            (2000, 2), (0x20, 2), (73728 * 4, 4), (frames, 4), (1, 4), (16, 2), (channels, 2),
            (RATE, 4),
        ]
    )  # fmt: skip
    numbers = [(3990, 2), (0, 2), (52, 4), (len(header), 4), (4, 4), (0, 4), (len(sound), 4)]
    descriptor = b"MAC " + b"".join(number.to_bytes(size, "little") for number, size in numbers)
    descriptor += bytes(8) + bytes(16)  # upper half of the sound's length, the tail's, an MD5
    first = len(descriptor) + len(header) + 4
    return descriptor + header + first.to_bytes(4, "little") + sound
