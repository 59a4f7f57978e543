"""Data sets by name: what is known of them. They depend on features, sound and below."""
