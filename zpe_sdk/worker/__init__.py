"""The worker: runs on a compute node, fetches SCFs over HTTPS and reports their forces."""
