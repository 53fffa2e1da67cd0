from django.core.management import call_command


def test_no_migration_is_missing(database: None) -> None:
    """`makemigrations --check` exits with 1 where there is one to make."""
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)
