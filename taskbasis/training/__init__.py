"""Fine-tuning of image encoders under frozen zero-shot heads."""
