"""A room for each task: its layouts, checks, value windows, phantoms and measures. No task imports another."""
