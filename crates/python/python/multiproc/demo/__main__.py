"""Runs the programs in turn, each in an interpreter of its own."""

import argparse
import os
import subprocess
import sys
from pathlib import Path

NAMES = ("pipe", "bounded", "handoff", "squares", "buns", "joinable")
# Each line is one write, so that those of several processes don't mix. Every sleep takes a part of its time.
RUN = """
import runpy, sys, time
sys.stdout.reconfigure(line_buffering=True)
sleep, pace = time.sleep, float(sys.argv[1])
time.sleep = lambda seconds: sleep(seconds * pace)
runpy.run_path(sys.argv[2], run_name="__main__")
"""


def main():
    parser = argparse.ArgumentParser(prog="python -m multiproc.demo", description=__doc__)
    parser.add_argument("name", nargs="?", choices=NAMES, help="the program; without it: all in turn")
    parser.add_argument("--pace", type=float, default=0.05, metavar="S", help="what stands for a second of their sleeps (0.05)")
    arguments = parser.parse_args()
    failed = 0
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    for name in [arguments.name] if arguments.name else NAMES:
        if not arguments.name:
            print(f"== {name}", flush=True)
        program = Path(__file__).with_name(f"{name}.py")
        command = [sys.executable, "-c", RUN, str(arguments.pace), str(program)]
        failed |= subprocess.run(command, env=environment).returncode
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
