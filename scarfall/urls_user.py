"""HTTP on the user gateway's port."""

from django.urls import path, re_path

from scarfall import health

urlpatterns = [
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    re_path("", health.not_found),
]

handler404 = health.not_found
handler500 = health.server_error
