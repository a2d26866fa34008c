"""The calibration watch: `autolabel calibration` compares a drive's sensors with its drive.json."""
