"""What a run leaves behind: local records first, tables and plots, and Weights & Biases as a mirror."""
