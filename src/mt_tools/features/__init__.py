"""Features: pure functions on arrays, from a waveform to mel bands, cepstra and vectors.

`settings` names every number that changes a feature, with the presets of the studies, and
`registry` the kinds: of frames (`mel`, `mfcc`, `stft`, `chroma`), or one vector (`tempo`,
`loudness`, `descriptors`, `essentia`). `extract` is the one entry that the stages use. A waveform
is float32 `[channels, samples]`, a spectrogram `[bands, frames]` or `[channels, bands, frames]`.
"""
