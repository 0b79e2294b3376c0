"""The nouns of the glossary as frozen values."""
