"""The result of a job: its data, what follows from them, and how they are shown."""
