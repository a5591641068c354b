"""What researchers and administrators call: clients, jobs, a control plane of one's own."""
