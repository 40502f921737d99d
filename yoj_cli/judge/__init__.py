"""The judge: a backbone, its adapter and value head, and the one forward path. Torch starts here."""
