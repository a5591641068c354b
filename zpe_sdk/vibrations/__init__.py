"""From displacements and forces to frequencies and thermochemistry; knows nothing of HTTP or Redis."""
