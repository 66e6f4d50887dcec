"""A stock Django project in one module: nothing in it but `monitor` knows that it is observed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import django
from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.db import connection, models
from django.http import HttpResponse
from django.template import engines
from django.urls import path

from otelmon import monitor


if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


if not settings.configured:
    settings.configure(
        ROOT_URLCONF=__name__,
        ALLOWED_HOSTS=["*"],
        SECRET_KEY="made up",
        LOGGING_CONFIG=None,
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": "site",
                "USER": "postgres",
                "HOST": "127.0.0.1",
                "PORT": os.environ["DATABASE_PORT"],  # noqa: TID251 - as such applications do
                "CONN_MAX_AGE": int(os.environ.get("CONN_MAX_AGE", "0")),  # noqa: TID251 - as above
            }
        },
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    )
    django.setup()


class Author(models.Model):  # type: ignore[misc]
    """Somebody who writes."""

    name = models.TextField()

    class Meta:
        """Where the model belongs."""

        app_label = "tests"

    def __str__(self) -> str:
        """Return the name."""
        return str(self.name)


class Book(models.Model):  # type: ignore[misc]
    """What somebody has written."""

    title = models.TextField()
    author = models.ForeignKey(Author, on_delete=models.CASCADE)

    class Meta:
        """Where the model belongs."""

        app_label = "tests"

    def __str__(self) -> str:
        """Return the title."""
        return str(self.title)


PAGE = "{% for book in books %}<li>{{ book.title }} by {{ book.author.name }}{% endfor %}"


def books(_request: Any) -> Any:  # noqa: ANN401 - Django has no types
    """Show all books in a page; each asks for its author by itself."""
    page = engines["django"].from_string(PAGE)
    return HttpResponse(page.render({"books": Book.objects.all()}))


def book(_request: Any, number: int) -> Any:  # noqa: ANN401 - as above
    """Show one book."""
    return HttpResponse(Book.objects.get(pk=number).title)


def add(_request: Any) -> Any:  # noqa: ANN401 - as above
    """Add an author."""
    Author.objects.create(name="nobody")
    return HttpResponse("added")


def hold(_request: Any) -> Any:  # noqa: ANN401 - as above
    """Hold a connection until the test lets go of a lock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock_shared(1), pg_advisory_unlock_shared(1)")
    return HttpResponse("held")


def broken(_request: Any) -> Any:  # noqa: ANN401 - as above
    """Ask for what is not there."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT a FROM nothing")


urlpatterns = [
    path("books", books),
    path("books/<int:number>", book),
    path("authors", add),
    path("hold", hold),
    path("broken", broken),
]


def fill(times: int) -> None:
    """Make the tables, and so many books."""
    with connection.schema_editor() as editor:
        editor.create_model(Author)
        editor.create_model(Book)
    for number in range(times):
        author = Author.objects.create(name=f"author {number}")
        Book.objects.create(title=f"title {number}", author=author)


def observed() -> WSGIApplication:
    """Return the application as a server gets it."""
    return monitor(get_wsgi_application())
