"""Downloads and archives: files from the network, whole or not at all."""
