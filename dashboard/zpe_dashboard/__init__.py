"""The administrators' dashboard. It speaks to the control plane over its HTTP API and to nothing else."""
