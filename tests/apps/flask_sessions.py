"""A stock Flask application: Flask-Login, Flask-WTF's CSRF and `flash`, on otelmon's sessions."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from flask import Flask, flash, get_flashed_messages, redirect, request, session
from flask_login import (  # type: ignore[import-untyped]
    LoginManager,
    UserMixin,
    current_user,
    login_user,
    logout_user,
)
from flask_wtf.csrf import CSRFProtect, generate_csrf  # type: ignore[import-untyped]

from otelmon import Sessions, monitor
from otelmon.hardening.sessions.flask import SessionInterface


if TYPE_CHECKING:
    from werkzeug.wrappers import Response

shop = Flask(__name__)
shop.config["SECRET_KEY"] = "of Flask-WTF's tokens"
shop.session_interface = SessionInterface()
shop.wsgi_app = Sessions(shop.wsgi_app)  # type: ignore[method-assign]
CSRFProtect(shop)
users = LoginManager(shop)


class User(UserMixin):  # type: ignore[misc]
    """Somebody who has logged in."""

    def __init__(self, name: str) -> None:
        """Have a name."""
        self.id = name


users.user_loader(User)


@shop.after_request
def tell(response: Response) -> Response:
    """Say which worker has answered."""
    response.headers["X-Pid"] = str(os.getpid())
    return response


@shop.get("/token")
def token() -> str:
    """Give a token for forms."""
    return str(generate_csrf())


@shop.post("/login")
def login() -> Response:
    """Log somebody in."""
    login_user(User(request.form["name"]))
    session.renew()  # type: ignore[attr-defined]
    flash(f"Welcome, {request.form['name']}")
    return redirect("/")


@shop.post("/logout")
def logout() -> str:
    """Log out, as Flask's own tutorial does it."""
    logout_user()
    session.clear()
    return "bye"


@shop.get("/")
def home() -> dict[str, object]:
    """Say who is there, and what was flashed."""
    name = current_user.id if current_user.is_authenticated else None
    return {"name": name, "flashed": get_flashed_messages()}


@shop.get("/status")
def status() -> dict[str, object]:
    """Put something in; say whether a session is to be had."""
    session["seen"] = session.get("seen", 0) + 1
    return {"available": session.available, "seen": session["seen"]}  # type: ignore[attr-defined]


@shop.get("/large")
def large() -> str:
    """Put in more than a cookie takes."""
    session["large"] = "x" * 5000
    return "put"


app = monitor(shop)
