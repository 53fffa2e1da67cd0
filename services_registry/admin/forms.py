"""The forms for a new service and for what can be edited of one."""

import json
from collections.abc import Callable
from typing import Any, TypeVar

from django import forms
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from services_registry import rules
from services_registry.errors import InvalidService
from services_registry.keys import MAX_KEY_LENGTH, MIN_KEY_LENGTH
from services_registry.models import Service

T = TypeVar("T")


class MetadataField(forms.JSONField):
    """A JSON object, as the registry's rules have it."""

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, forms.fields.InvalidJSONInput):
            return value
        return json.dumps(value, ensure_ascii=False, indent=2)

    def to_python(self, value: Any) -> Any:
        return super().to_python(value) or {}

    def validate(self, value: Any) -> None:
        super().validate(value)
        _check(rules.check_metadata, value)


class ServiceForm(forms.ModelForm):  # type: ignore[type-arg]  # not at run time
    """What can be edited. The admin writes it, through services.py: `refusal` is what that said."""

    refusal = ""

    description = forms.CharField(
        required=False, widget=UnfoldAdminTextareaWidget(attrs={"rows": 2})
    )
    metadata = MetadataField(
        required=False,
        initial=dict,
        widget=UnfoldAdminTextareaWidget(
            attrs={"rows": 4, "spellcheck": "false", "class": "font-mono"}
        ),
        help_text="A JSON object. It travels with every message that the service sends.",
    )

    class Meta:
        model = Service
        fields: tuple[str, ...] = ("type", "description", "metadata")

    def clean_type(self) -> str:
        given: str = self.cleaned_data["type"]
        if given == self.instance.type:
            return given
        return _check(rules.check_type_is_allowed, given)

    def clean_description(self) -> str:
        given: str = self.cleaned_data["description"]
        return _check(rules.check_description, given)

    def clean(self) -> dict[str, Any] | None:
        if self.refusal:
            raise forms.ValidationError(self.refusal)
        return super().clean()


class NewServiceForm(ServiceForm):
    key = forms.CharField(
        required=False,
        min_length=MIN_KEY_LENGTH,
        max_length=MAX_KEY_LENGTH,
        strip=False,
        widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off", "spellcheck": "false"}),
        help_text="Empty: one is made, and shown once. Of either, only a hash is kept.",
    )

    class Meta(ServiceForm.Meta):
        fields = ("name", "type", "description", "metadata")

    def clean_key(self) -> str:
        given: str = self.cleaned_data["key"]
        return _check(rules.check_key, given) if given else ""


def _check(rule: Callable[[T], None], value: T) -> T:
    """The value. A rule's words begin with the field's name on the wire; here the form has it."""
    try:
        rule(value)
    except InvalidService as error:
        words = str(error).partition(": ")[2]
        raise forms.ValidationError(words[0].upper() + words[1:] + ".") from None
    return value
