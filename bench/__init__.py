"""Every performance figure that the documents claim, each one command."""
