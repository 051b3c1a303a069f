"""Sounds, from a file to what an audio encoder takes."""
