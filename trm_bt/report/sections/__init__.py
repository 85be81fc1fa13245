"""The sections of the pages: a template each, beside the module that fills it."""
