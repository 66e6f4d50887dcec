"""The endpoints, one small file each, and the WSGI app that mounts them."""
