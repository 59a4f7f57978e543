"""Sound in files and in arrays: decoding, effects, synthesis, and the tags inside audio files.

The only room that opens audio files. Waves are float32 [channels, samples], full scale at ±1.
"""
