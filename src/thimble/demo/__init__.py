"""The web page of ``thimble demo``."""
