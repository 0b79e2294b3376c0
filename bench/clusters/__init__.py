"""What bench/kubernetes.py measures with, from what is installed to the plot of how it grows."""
