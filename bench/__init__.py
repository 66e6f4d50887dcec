"""Benchmarks: what otelmon costs, side by side with others. `make bench` runs them all."""
