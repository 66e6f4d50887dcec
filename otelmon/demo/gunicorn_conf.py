"""How gunicorn serves the shop. Every setting can be overruled on its command line."""

from __future__ import annotations


wsgi_app = "otelmon.demo.shop:create_app()"
bind = "127.0.0.1:5001"
workers = 4
graceful_timeout = 5  # seconds for requests in flight at a stop; the slowest page takes 0.6
# By default all of a user's gunicorns share one control socket, and the last one takes it.
control_socket_disable = True
