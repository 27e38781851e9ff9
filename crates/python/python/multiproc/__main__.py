"""``python -m multiproc patch PROGRAM …`` runs a program with the classes of this package in place of ``multiprocessing``'s."""

import argparse
import os
import sys
import types

from ._patch import patch


def main():
    parser = argparse.ArgumentParser(prog="python -m multiproc", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    words = "run a program whose queues, pools and executors are those of this package"
    command = commands.add_parser("patch", help=words, description=words)
    command.add_argument("program", help="the program's file")
    command.add_argument("arguments", nargs=argparse.REMAINDER, help="its arguments")
    asked = parser.parse_args()
    patch()
    sys.argv = [asked.program, *asked.arguments]
    if not getattr(sys.flags, "safe_path", False):
        sys.path[0] = os.path.dirname(os.path.abspath(asked.program))
    # It stays the main module until the interpreter ends: what is left to be pickled then is found in it.
    module = types.ModuleType("__main__")
    module.__file__ = asked.program
    sys.modules["__main__"] = module
    with open(asked.program, "rb") as file:
        code = compile(file.read(), asked.program, "exec")
    exec(code, module.__dict__)


if __name__ == "__main__":
    main()
