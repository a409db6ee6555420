"""The page of ``thimble demo``."""
