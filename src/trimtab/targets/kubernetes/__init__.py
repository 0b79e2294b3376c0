"""The Kubernetes target: a thin asynchronous client, and on top of it the Target port for any number of clusters."""
