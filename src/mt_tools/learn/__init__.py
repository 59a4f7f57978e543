"""Learning: the training loop (`fit`), its settings, and calibrated thresholds (`calibrate`)."""
