"""Draw a small data set: streets with labels, people with keypoints, or shapes by kind.

python tools/make_toy_data.py streets data/toy_streets
"""

import argparse
import sys

from toy_data import command
from toy_data.people import command as people
from toy_data.shapes import command as shapes
from toy_data.streets import command as streets


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description='Draw a small data set for a task, in less than a minute and without a '
        'download. mmseg reads streets, mmpose people, and mmpretrain shapes.',
        epilog='`make_toy_data.py KIND --help` says what is in a set.',
    )
    commands = parser.add_subparsers(metavar='KIND', required=True)
    for kind in (streets, people, shapes):
        kind.add(commands)
    options = parser.parse_args(arguments)
    if options.train + options.val + options.test == 0:
        parser.error('--train, --val and --test are all 0: nothing to draw')
    return options


def main() -> int:
    """Run the command line; returns the exit code."""
    return command.run(parse())


if __name__ == '__main__':
    sys.exit(main())
