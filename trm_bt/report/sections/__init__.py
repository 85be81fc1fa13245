"""The sections of the pages: a template each, next to the module that fills it."""
