"""Meter: an exchange goes by; a tap watches it; the book prices it; sinks are told."""

__version__ = "0.1.0"
