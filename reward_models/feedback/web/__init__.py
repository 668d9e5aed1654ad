"""The labelling desk as a local web page."""
