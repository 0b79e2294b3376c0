"""Values in, values out: nothing here reads a clock, a file, a socket or chance."""
