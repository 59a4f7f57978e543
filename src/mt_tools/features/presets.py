"""The presets: settings of the studies, and of published networks, by name.

Each says which study and where in it. Beside each stands what the study states, and what is ours
where it states nothing. Standard library only, as every `--help` lists them.
"""

from __future__ import annotations

from dataclasses import dataclass

from mt_tools.errors import UsageError
from mt_tools.features.settings import FeatureSettings


@dataclass(frozen=True)
class Preset:
    """Settings of a study, with one line that says which and where."""

    settings: FeatureSettings
    source: str


PRESETS: dict[str, Preset] = {
    # The Music Auto-Tagger took decibels of the squared mel power, with the librosa of 2016, which
    # padded by reflection. Its published melgrams are the test of this preset.
    "choi2016": Preset(
        FeatureSettings(
            sample_rate=12000,
            n_fft=512,
            hop=256,
            pad="reflect",
            bands=96,
            mel_exponent=2.0,
            excerpt="centre:29.12",
        ),
        "Music Auto-Tagger of Keunwoo Choi (2016), audio_processor.py: 96 x 1,366 for 29.12 s",
    ),
    # Stated: 48 bands, hop 1,024, 87 s, input 48 x 1,874. The text's 12 kHz would give 1,020
    # frames; 22.05 kHz gives the stated ones. Ours: window of 2,048, Slaney bands, decibels.
    "dj": Preset(
        FeatureSettings(hop=1024, bands=48, excerpt="first:87"),
        "Cycoń 2020, Transfer and multitask learning for music classification tasks, section 5.1 "
        "and Table 5.3: 48 x 1,874 for 87 s",
    ),
    # Stated (section 3.3): 128 bands, frames of 46 ms, half overlap, decibels, crops of 1 s.
    # Table 2 shows 43 frames; centred frames of 1 s are 44, so the last one is cut. Ours: 44.1 kHz
    # (2,048 samples are 46 ms), Slaney bands, reflection as librosa did in 2018.
    "agf": Preset(
        FeatureSettings(
            sample_rate=44100, n_fft=2048, hop=1024, pad="reflect", excerpt="segment:1", frames=43
        ),
        "Kim et al. 2018, Transfer learning of artist group factors to musical genre "
        "classification, section 3.3 and Table 2: 128 x 43 for 1 s",
    ),
    # Stated (sections 3.1.1 and 3.1.2, Table 1): 25 coefficients of frames, and of the other set
    # the differences of neighbouring frames alone. Ours: the frames of agf, decibels, and clips of
    # 30 s, which are what the study's songs are.
    "agf-mfcc": Preset(
        FeatureSettings(
            kind="mfcc",
            sample_rate=44100,
            n_fft=2048,
            hop=1024,
            pad="reflect",
            n_mfcc=25,
            excerpt="first:30",
        ),
        "Kim et al. 2018, as agf, section 3.1.1 (its set m): 25 coefficients a frame",
    ),
    "agf-dmfcc": Preset(
        FeatureSettings(
            kind="mfcc",
            sample_rate=44100,
            n_fft=2048,
            hop=1024,
            pad="reflect",
            n_mfcc=25,
            static=False,
            deltas=1,
            delta_width=2,
            excerpt="first:30",
        ),
        "Kim et al. 2018, as agf, section 3.1.2 (its set d): 25 differences a frame",
    ),
    # Ours: the descriptors of features/registry.py; the study's list of 4,374 is not printed.
    "agf-essentia": Preset(
        FeatureSettings(kind="essentia", sample_rate=44100, channels="stereo"),
        "Kim et al. 2018, as agf, section 3.1.3 (its set e): a vector a song, of Essentia",
    ),
    # Stated (Table 4.1, eq. 2.8, algorithm 22): Hamming 512/256, 96 HTK bands of power, natural
    # logarithm, parts of 29.1 s = 1,366 frames with the tail dropped. Ours: the floor of the
    # logarithm, and librosa's defaults of 2017 for the norm of the bands and the padding.
    "seq": Preset(
        FeatureSettings(
            sample_rate=12000,
            n_fft=512,
            hop=256,
            window="hamming",
            pad="reflect",
            bands=96,
            mel_scale="htk",
            scale="log",
            excerpt="segment:29.12",
        ),
        "Sankaran 2017, Analyses of convolutional neural networks for automatic tagging of music "
        "tracks, Table 4.1: 96 x 1,366 for 29.12 s",
    ),
    # Stated (algorithms 4, 23 and 24): the cosine transform of the same, 90 of 96 coefficients.
    "seq-mfcc": Preset(
        FeatureSettings(
            kind="mfcc",
            sample_rate=12000,
            n_fft=512,
            hop=256,
            window="hamming",
            pad="reflect",
            bands=96,
            mel_scale="htk",
            scale="log",
            n_mfcc=90,
            excerpt="segment:29.12",
        ),
        "Sankaran 2017, as seq, algorithms 23 and 24: 90 x 1,366 for 29.12 s",
    ),
    # Stated (section 5.1): 44.1 kHz, 30 s, Hann 400/200, zero padding, 128 HTK bands, no
    # logarithm. It prints 6,625 and 6,225 frames; 30 s give 6,616. Ours: power, bands that
    # peak at 1.
    "reg": Preset(
        FeatureSettings(
            sample_rate=44100,
            n_fft=400,
            hop=200,
            mel_scale="htk",
            mel_norm="none",
            scale="power",
            excerpt="first:30",
        ),
        "Schmidt 2023, Reproduction of black-box music analysis algorithms, section 5.1: "
        "128 x 6,616 for 30 s",
    ),
    # Stated (sections 3.1.1 and 3.1.2): 1,024/256 at 22 kHz, 128 bands, decibels, stereo, 2.5 s.
    # "Magnitude" in the text; the authors' public code takes decibels of mel power, over both
    # channels at once, with librosa's defaults of 2018. Standardising is fitted apart.
    "rep": Preset(
        FeatureSettings(
            channels="stereo", n_fft=1024, hop=256, pad="reflect", excerpt="segment:2.5"
        ),
        "Kim et al. 2019, One deep music representation to rule them all?, section 3.1: "
        "2 x 128 x 216 for 2.5 s",
    ),
    # Kapre's layer inside the network (commit a3bde3e): power of 96 Slaney bands, frames around
    # samples padded with zeros, decibels below the maximum. Theirs is the maximum of a batch.
    "choi2017": Preset(
        FeatureSettings(
            sample_rate=12000,
            n_fft=512,
            hop=256,
            bands=96,
            reference="max",
            excerpt="first:29",
            frames=1360,
        ),
        "Choi et al. 2017, Transfer learning for music classification and regression tasks, "
        "easy_feature_extraction.py: 96 x 1,360 for 29 s (DJ's second part: --range 29,58)",
    ),
    # Frame size, log of base 10 and 187 frames of 3 s as in musicnn's extractor, of librosa 0.7:
    # power, Slaney bands, padding by reflection. It pads whole tracks, here each segment is.
    "musicnn": Preset(
        FeatureSettings(
            sample_rate=16000,
            n_fft=512,
            hop=256,
            pad="reflect",
            bands=96,
            scale="compressed",
            excerpt="segment:3",
            frames=187,
        ),
        "Pons and Serra 2019, musicnn: pre-trained convolutional neural networks for music audio "
        "tagging: 96 x 187 for 3 s",
    ),
    # Stated: 20 coefficients with first and second differences, mean and standard deviation.
    # Ours: librosa 0.11's defaults at the study's 22.05 kHz, differences by Savitzky-Golay. The
    # tables that Choi et al. (2017) published are of 12 kHz and plain differences of frames.
    "mfcc-rep": Preset(
        FeatureSettings(kind="mfcc", n_mfcc=20, deltas=2, summary="mean+std"),
        "Kim et al. 2019, as rep, section 4.4, after Choi et al. 2017: 120 values a track",
    ),
    # The standard's filters are printed for 48 kHz.
    "loudness": Preset(
        FeatureSettings(kind="loudness", sample_rate=48000),
        "Recommendation ITU-R BS.1770-5 and EBU R 128: integrated loudness, range, momentary and "
        "short-term maximum of a track",
    ),
}


def preset(name: str) -> FeatureSettings:
    """Return the settings of a preset; an unknown name raises `UsageError` with the known ones."""
    if name not in PRESETS:
        raise UsageError(f"unknown preset {name!r}: choose one of {', '.join(PRESETS)}")
    return PRESETS[name].settings
