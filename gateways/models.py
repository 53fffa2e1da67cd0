"""No table: sessions live in the store. What Django needs to give permissions over them."""

from django.db import models


class LiveSession(models.Model):  # noqa: DJ008  # there are no instances
    """A user's or a service's session, as the admin shows it."""

    class Meta:
        managed = False
        default_permissions = ("view",)
        permissions = (("disconnect_livesession", "Can disconnect live sessions"),)
