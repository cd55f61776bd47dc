"""The HTML report of a run: one module for each part of the page, and the templates."""
