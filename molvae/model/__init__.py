"""The network, its loss, its conditions, and the folder it is stored in."""
