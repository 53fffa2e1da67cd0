"""What it costs: measured on this machine, against a server of the benchmark's own."""
