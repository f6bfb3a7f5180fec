"""What the host offers, close to its system calls: spawning, threads, mounts, namespaces."""
