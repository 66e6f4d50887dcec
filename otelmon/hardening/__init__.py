"""What stands between the clients and an application: each part a WSGI middleware of its own."""
