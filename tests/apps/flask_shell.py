"""The plain application inside a Flask object, so that `flask run` serves it."""

from __future__ import annotations

from flask import Flask

from tests.apps import plain


app = Flask(__name__)
app.wsgi_app = plain.app  # type: ignore[assignment, method-assign]
