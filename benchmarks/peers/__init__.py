"""The servers that the benchmark compares the gateway with. They import nothing of it."""
