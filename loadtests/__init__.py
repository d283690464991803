"""Benchmarks (`make bench`) and load tests (`make load`) of whole services over HTTP."""
