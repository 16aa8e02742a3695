"""onejob: an unmodified service becomes an operating system with one job."""

__version__ = "0.1.0"
