"""Published ports: held on the host, and led to containers by the kernel or by a proxy."""
