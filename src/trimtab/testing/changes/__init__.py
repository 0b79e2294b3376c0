"""The simulation of Changes: people who propose, approve and merge on a hosted repository, while everything fails that can fail."""
