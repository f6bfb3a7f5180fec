"""What keeps a container apart from its host: capabilities, system calls, paths, devices."""
