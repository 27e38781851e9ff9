"""``python -m multiproc patch PROGRAM …`` runs a program with the classes of this package in place of ``multiprocessing``'s."""

import argparse
import os
import runpy
import sys

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
    sys.path[0] = os.path.dirname(os.path.abspath(asked.program))
    runpy.run_path(asked.program, run_name="__main__")


if __name__ == "__main__":
    main()
