"""What is wrong with a checkpoint. Knows no file format and no tensor."""


class CheckpointError(ValueError):
    """A checkpoint is missing, incomplete or of another shape; the message says what to do."""
