"""The control plane: accepts jobs, plans them, leases their tasks out and assembles the results."""
