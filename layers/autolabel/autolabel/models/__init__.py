"""The catalogue of models, their calibration and coverage, and the decoders of their answers."""
