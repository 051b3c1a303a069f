"""Prompts with rows of images and sounds in the places of tokens, for whichever decoder takes them."""
