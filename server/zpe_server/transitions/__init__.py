"""What each transition is asked and what it answers; what it does is in ``lua/``."""
