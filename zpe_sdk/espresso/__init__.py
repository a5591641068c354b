"""All that knows pw.x: inputs, runs, output, fingerprint; knows nothing of HTTP or Redis."""
