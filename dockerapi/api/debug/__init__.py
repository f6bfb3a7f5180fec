"""The pages below `/debug/`: counters, and profiles in pprof's format."""
