"""The protocol's document as what it is to others: a contract, that frames keep or break."""

from typing import Any

import jsonschema

from gateways.consumers.description import document

Document = dict[str, Any]
Frame = dict[str, Any]


class Contract:
    """What one gateway may say, and may be asked, by the document alone."""

    def __init__(self, gateway: str, of: Document | None = None) -> None:
        self.document = of or document(port=3000, internal_port=4000)
        channel = f"#/channels/{gateway}"
        self._messages = self.document["channels"][gateway]["messages"]
        operations = [
            operation
            for operation in self.document["operations"].values()
            if operation["channel"]["$ref"] == channel
        ]
        self.requests, self.replies, self.pushes = (
            {name.removeprefix(f"{channel}/messages/") for name in names}
            for names in (
                [_only(it["messages"]) for it in operations if it["action"] == "receive"],
                [_only(it["reply"]["messages"]) for it in operations if "reply" in it],
                [_only(it["messages"]) for it in operations if it["action"] == "send"],
            )
        )

    def name_of(self, frame: Frame) -> str | None:
        """Of the message that a gateway's frame is; None where the document knows none."""
        name = f"{frame['event']}.reply" if "id" in frame else frame["event"]
        return name if name in self.replies | self.pushes else None

    def breaches(self, name: str, frame: Frame) -> list[str]:
        """How a frame breaks the schema of a message."""
        schema = {**self._messages[name]["payload"], "components": self.document["components"]}
        errors = jsonschema.Draft7Validator(schema).iter_errors(frame)
        return [f"{name}: {error.json_path}: {error.message}" for error in errors]

    def heard(self, frame: Frame) -> list[str]:
        """How a frame of the gateway's breaks the contract."""
        name = self.name_of(frame)
        return [f"unknown: {frame}"] if name is None else self.breaches(name, frame)

    def asked(self, frame: Frame) -> list[str]:
        """How a frame of a client's breaks it."""
        if frame["event"] not in self.requests:
            return [f"unknown: {frame}"]
        return self.breaches(frame["event"], frame)

    def fields(self) -> set[str]:
        """The names of all that the gateway may say."""
        names: set[str] = set()
        waiting = [self._messages[name]["payload"] for name in self.replies | self.pushes]
        seen = set()
        while waiting:
            part = waiting.pop()
            if isinstance(part, list):
                waiting += part
            elif isinstance(part, dict):
                names.update(part.get("properties", ()))
                waiting += part.values()
                if (reference := part.get("$ref")) is not None and reference not in seen:
                    seen.add(reference)
                    schemas = self.document["components"]["schemas"]
                    waiting.append(schemas[reference.rpartition("/")[2]])
        return names


def _only(references: list[dict[str, str]]) -> str:
    (reference,) = references
    return reference["$ref"]
