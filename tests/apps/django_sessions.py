"""A stock Django project: contrib.auth, messages and CSRF in the session, on otelmon's engine.

To be loaded once, by gunicorn's --preload: it makes its database.
"""

from __future__ import annotations

import os
from typing import Any

import django
from django.conf import settings
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from django.db import connections
from django.http import HttpResponse, JsonResponse
from django.urls import path

from otelmon import monitor


settings.configure(
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],
    SECRET_KEY="made up",
    LOGGING_CONFIG=None,
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": os.environ["DATABASE"],  # noqa: TID251 - how a test tells its application something
            "OPTIONS": {"timeout": 30},
        }
    },
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.messages",
    ],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.middleware.csrf.CsrfViewMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ],
    MESSAGE_STORAGE="django.contrib.messages.storage.session.SessionStorage",
    SESSION_ENGINE="otelmon.hardening.sessions.django",
    SESSION_COOKIE_NAME="__Host-session",
    SESSION_COOKIE_SECURE=True,
    CSRF_USE_SESSIONS=True,
    CSRF_COOKIE_SECURE=True,
)
django.setup()

from django.contrib import auth, messages  # noqa: E402 - its models need the settings
from django.contrib.auth.models import User  # noqa: E402 - as above
from django.middleware.csrf import get_token  # noqa: E402 - as above


call_command("migrate", verbosity=0)
User.objects.create_user("ada", password="engine")
# Each worker is to open its own.
connections.close_all()


def tell(response: Any) -> Any:
    """Say which worker has answered."""
    response["X-Pid"] = str(os.getpid())
    return response


def token(request: Any) -> Any:
    """Give a token for forms."""
    return tell(HttpResponse(get_token(request)))


def login(request: Any) -> Any:
    """Log somebody in."""
    user = auth.authenticate(request, username=request.POST["name"], password="engine")
    auth.login(request, user)
    messages.success(request, f"Welcome, {user.username}")
    return tell(HttpResponse("in"))


def logout(request: Any) -> Any:
    """Log out."""
    auth.logout(request)
    return tell(HttpResponse("bye"))


def home(request: Any) -> Any:
    """Say who is there, and what was flashed."""
    name = request.user.username if request.user.is_authenticated else None
    flashed = [str(each) for each in messages.get_messages(request)]
    return tell(JsonResponse({"name": name, "flashed": flashed}))


def status(request: Any) -> Any:
    """Put something in; say whether a session is to be had."""
    request.session["seen"] = seen = request.session.get("seen", 0) + 1
    return tell(JsonResponse({"available": request.session.available, "seen": seen}))


def expiring(request: Any) -> Any:
    """Have the session end soon."""
    request.session.set_expiry(300)
    return tell(HttpResponse("soon"))


urlpatterns = [
    path("", home),
    path("token", token),
    path("login", login),
    path("logout", logout),
    path("status", status),
    path("expiring", expiring),
]

app = monitor(get_wsgi_application())
