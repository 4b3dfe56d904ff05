"""Owns the program `deep-agent`: starts the commands and decides how a run ends, whatever happens."""

import importlib
import sys

from deep_agent.errors import DeepAgentError


def main() -> None:
    """Run a command; a failure ends with a message and a next step, never with a traceback."""
    try:
        # Loaded in here, so that Ctrl-C during the second this takes ends as quietly as later.
        importlib.import_module("services.cli.commands").app()
    except KeyboardInterrupt:
        sys.exit(130)
    except DeepAgentError as error:
        _end(error)
    except Exception as error:  # noqa: BLE001 - the door's last resort: people get a sentence, --debug the rest
        wrapped = DeepAgentError(
            f"{type(error).__name__}: {error}",
            remedy="This is a fault of Deep Agent; `deep-agent --debug ...` shows where it happened.",
        )
        wrapped.__cause__ = error
        _end(wrapped)


def _end(error: DeepAgentError) -> None:
    if "--debug" in sys.argv:
        raise error
    terminal = importlib.import_module("services.cli.terminal")
    terminal.print_error(error)
    sys.exit(terminal.exit_code(error))


if __name__ == "__main__":
    main()
