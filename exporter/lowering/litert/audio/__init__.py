"""Audio encoders as models of a LiteRT bundle: their operations, graphs and sections."""
