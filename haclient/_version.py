"""The version, alone, so that `haclient --version` imports nothing else."""

__version__ = "0.1.0"
