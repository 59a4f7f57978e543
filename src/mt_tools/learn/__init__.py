"""Learning: the training loop (`fit`), its settings, thresholds and calibration."""
