"""A stock Flask application with a folder of static files of its own, hardened and measured."""

from __future__ import annotations

import os

from flask import Flask, request, session

from otelmon import harden, monitor
from otelmon.hardening.sessions.flask import SessionInterface
from tests.apps.patient_limits import wait_for_counts


shop = Flask(__name__, static_folder=os.environ["FLASK_STATIC"], static_url_path="/static")  # noqa: TID251 - as the test says
shop.session_interface = SessionInterface()


@shop.get("/visits")
def visits() -> str:
    """Count the visits of a session."""
    session["visits"] = session.get("visits", 0) + 1
    return str(session["visits"])


@shop.post("/length")
def length() -> str:
    """Tell how long a body is."""
    return str(len(request.get_data()))


wait_for_counts()
app = monitor(harden(shop))
