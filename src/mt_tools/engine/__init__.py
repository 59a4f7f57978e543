"""How work on rows is run: in this process or in worker processes, always in input order."""
