"""What other programs know of tracks: playlists, Rekordbox, iTunes, beets. Read, never written."""
