"""What is known of a service, and what was done to it. Written by services.py only."""

from hashlib import sha256

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models

NAME_PATTERN = r"^[a-z0-9_-]{1,64}\Z"


class Service(models.Model):
    """One of the platform's services. Of its keys only hashes are kept."""

    class Approval(models.TextChoices):
        PENDING = "pending"
        APPROVED = "approved"
        REJECTED = "rejected"

    class Origin(models.TextChoices):
        ENVIRONMENT = "environment"
        REGISTRATION = "registration"
        OPERATOR = "operator"

    name = models.CharField(
        max_length=64,
        unique=True,
        validators=[RegexValidator(NAME_PATTERN, "Lower-case letters, digits, - and _ only.")],
    )
    type = models.CharField(max_length=64)
    description = models.TextField(blank=True)
    metadata = models.JSONField(default=dict, blank=True)
    enabled = models.BooleanField(default=True)
    approval = models.CharField(
        max_length=8, choices=Approval.choices, default=Approval.APPROVED, db_index=True
    )
    origin = models.CharField(max_length=12, choices=Origin.choices)
    key_hash = models.CharField(max_length=256)
    #: The key before the last rotation, good until it is dropped: a service's machines change over
    #: one by one.
    previous_key_hash = models.CharField(max_length=256, blank=True)
    #: Which key the environment gave last; empty where it never named the service. The digest is
    #: quick and depends on SECRET_KEY; the hash is slow, holds under any, and lets nobody in.
    environment_digest = models.CharField(max_length=64, blank=True, editable=False)
    environment_key_hash = models.CharField(
        max_length=256,
        blank=True,
        default="",
        db_default="",  # For processes of the version before, while machines are restarted in turn.
        editable=False,
    )
    created_at = models.DateTimeField(auto_now_add=True)
    approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
    )
    approved_at = models.DateTimeField(null=True, blank=True)
    last_authenticated_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("name",)
        permissions = (("approve_service", "Can approve and reject services"),)

    def __str__(self) -> str:
        return self.name

    @property
    def key_hashes(self) -> list[str]:
        """Of the keys that are good now: one, or two while a rotation lasts."""
        return [key_hash for key_hash in (self.key_hash, self.previous_key_hash) if key_hash]

    @property
    def fingerprint(self) -> str:
        """Changes with the state and the keys, and tells nothing of these: what somebody saw who
        decides.
        """
        decided = f"{self.approval} {self.enabled} {self.key_hash} {self.previous_key_hash}"
        return sha256(decided.encode()).hexdigest()[:16]

    @property
    def state(self) -> str:
        """In a word, as operators see it."""
        if self.approval != self.Approval.APPROVED:
            return self.approval
        return "enabled" if self.enabled else "disabled"

    @property
    def admitted(self) -> bool:
        """Whether the service may hold sessions."""
        return self.enabled and self.approval == self.Approval.APPROVED


class ServiceEvent(models.Model):
    """An audit row: who did what, when, from where. It outlives its service; nobody edits it."""

    class Kind(models.TextChoices):
        REGISTERED = "registered"
        APPROVED = "approved"
        REJECTED = "rejected"
        ENABLED = "enabled"
        DISABLED = "disabled"
        EDITED = "edited"
        KEY_CHANGED = "key changed"
        KEY_DROPPED = "previous key dropped"
        REFUSED = "refused"
        DELETED = "deleted"

    service = models.ForeignKey(
        Service, null=True, on_delete=models.SET_NULL, related_name="events"
    )
    service_name = models.CharField(max_length=64, db_index=True)
    kind = models.CharField(max_length=24, choices=Kind.choices)
    at = models.DateTimeField(auto_now_add=True)
    #: Who: an operator's name, a command, the environment, or the service itself.
    actor = models.CharField(max_length=150)
    #: From where, as far as it is known: a peer's address, or the host that a command ran on.
    address = models.CharField(max_length=64, blank=True)
    detail = models.CharField(max_length=200, blank=True)

    class Meta:
        ordering = ("-at", "-pk")
        # Whoever may view services may view what was done to them; nobody may do more.
        default_permissions = ()
        verbose_name = "audit event"

    def __str__(self) -> str:
        return f"{self.service_name}: {self.kind}"
