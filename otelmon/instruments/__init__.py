"""Observable instruments, one small file per source of figures."""
