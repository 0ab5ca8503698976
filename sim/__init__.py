"""A PyBullet world that shows, carries out and judges plans. Imports plan, never the model."""
