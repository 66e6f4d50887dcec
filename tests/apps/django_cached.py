"""A stock Django project in one module: a page of which a part is cached in Redis."""

from __future__ import annotations

import os
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.core.wsgi import get_wsgi_application
from django.shortcuts import render
from django.urls import path

from otelmon import monitor


PAGE = "{% load cache %}{% cache 600 product number %}<h1>Product {{ number }}</h1>{% endcache %}"
STORE = os.environ["STORE"]  # noqa: TID251 - how a test tells its application something


def page(request: Any, number: int) -> Any:  # noqa: ANN401 - Django has no types
    """Render a page."""
    cache.get_or_set(f"seen-{number}", lambda: True)
    return render(request, "page.html", {"number": number})


urlpatterns = [path("page/<int:number>", page)]

settings.configure(
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],
    SECRET_KEY="made up",
    LOGGING_CONFIG=None,
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {
                "loaders": [("django.template.loaders.locmem.Loader", {"page.html": PAGE})]
            },
        }
    ],
    CACHES={
        "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": STORE}
    },
)

app = monitor(get_wsgi_application())
