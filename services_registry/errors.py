"""Why the registry refuses. `str(error)` is a sentence for whoever asked.

RegistryError
├── InvalidService    a field does not fit
├── NameTaken         another service has the name
├── LimitReached      MAX_SERVICES are registered
├── UnknownService    there is no such service
└── Outdated          the service is not as it was when somebody decided
"""


class RegistryError(Exception):
    pass


class InvalidService(RegistryError):
    pass


class NameTaken(RegistryError):
    pass


class LimitReached(RegistryError):
    pass


class UnknownService(RegistryError):
    pass


class Outdated(RegistryError):
    pass
