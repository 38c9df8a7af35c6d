"""The program's first and last instructions: signals and streams are made safe before anything is imported that takes time.

Exit codes: the command's (`trtbench.cli.main`); 141, as of SIGPIPE, when it would be 0 and the reader of standard output left before
the end.
"""

import os
import signal

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # which would show a traceback of the imports that follow

    def _end(*_: object) -> None:
        try:
            os.write(2, b"trtbench: interrupted by SIGINT\n")
        finally:
            os._exit(128 + signal.SIGINT)

    signal.signal(signal.SIGINT, _end)

import errno
import sys
from typing import NoReturn

from trtbench.system import interrupts

_READER_LEFT = (errno.EPIPE, errno.EIO)  # EIO: the terminal is gone


def main() -> NoReturn:
    interrupts.end_at_once()
    from trtbench.system import output  # from here on a signal ends in one line

    out, err = output.take_streams()
    code = _run()
    if fault := output.flush(out, sys.stdout):
        if fault.errno not in _READER_LEFT:
            print(f"trtbench: standard output cannot be written ({fault.strerror or fault})", file=sys.stderr)
        code = code or (128 + signal.SIGPIPE if fault.errno in _READER_LEFT else 1)
    output.flush(err, sys.stderr)
    if leftovers := sys.modules.get("trtbench.system.leftovers"):
        leftovers.remove_own()
    os._exit(code)  # nothing is left to be ended, and a signal while the interpreter takes itself apart would show a traceback


def _run() -> int:
    if (argument := _no_text(sys.argv[1:])) is not None:
        print(f"trtbench: argument {argument}: not valid UTF-8; give another value, or rename the file", file=sys.stderr)
        return 2
    try:
        from trtbench.cli.main import main as command

        command()
    except SystemExit as ended:
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException as error:
        signum = interrupts.came()
        if signum is None:
            sys.excepthook(type(error), error, error.__traceback__)
            return 1
        if isinstance(error, KeyboardInterrupt):
            interrupts.say(signum)
        return interrupts.exit_code(signum)
    return 0


def _no_text(arguments: list[str]) -> str | None:
    """The first argument that is not valid UTF-8, which no file of a run could hold; arguments after `--` are another program's."""
    for argument in arguments:
        if argument == "--":
            break
        if any("\ud800" <= character <= "\udfff" for character in argument):
            return argument
    return None


if __name__ == "__main__":
    main()
