"""The artefact: a folder with the answer, its evidence, and a program that loads it into PyTorch."""
