"""Generic I/O that has never heard of GitOps: processes, files, HTTP, the clock."""
