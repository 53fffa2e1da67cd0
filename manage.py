#!/usr/bin/env python
"""The project's commands; `manage.py help` lists them."""

import gc
import os
import sys


def main() -> None:
    # Before Django: its commands import the settings, which want these secrets.
    from scarfall import environment, keyfiles
    from scarfall.variable import BadVariable

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "scarfall.settings")
    try:
        if sys.argv[1:2] == ["serve"]:
            for made in keyfiles.make_missing(environment.read(environment.load())):
                print(f"Made {made}: a secret of this machine, mode 0600. Keep it, and back it up.")
        from django.core.management import execute_from_command_line

        execute_from_command_line(sys.argv)
    except BadVariable as error:
        sys.exit(str(error))
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        # Who reads it has seen enough, as `head`. Python would fail again where it writes the rest.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    finally:
        # Else the interpreter would look through all that was imported before it ends: a fifth of
        # the CPU of a short command.
        gc.freeze()


if __name__ == "__main__":
    main()
