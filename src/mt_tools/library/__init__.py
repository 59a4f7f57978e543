"""What other programs know of tracks: playlists, Rekordbox, iTunes, beets; and what we do to files.

Modules called after a program read its library; `write_playlists` and `write_rekordbox` write what
the program reads, from a `listing`. Tags inside the files are planned, journalled and remembered
here (`plan`, `journal`, `state`) and written by `sound`.
"""
