"""Training jobs: containers that read channels and leave an artefact."""
