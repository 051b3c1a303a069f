"""Damaged and hostile files, thrown at every reader: what comes back is a value or one of our errors."""
