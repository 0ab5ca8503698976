"""What goes wrong with stories, in words."""


class StoryError(ValueError):
    """A story, or a picture in it, cannot be read or written; the message says why and what to do."""
