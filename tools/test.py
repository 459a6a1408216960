"""Test a checkpoint of any of the three libraries: what `mim test st_mm CONFIG` runs."""

import sys

from launch import build_runner, parser

from st_mm.command_line import checkpoint


def main() -> int:
    """Run the command line."""
    arguments = parser(__doc__)
    arguments.add_argument(
        'checkpoint', type=checkpoint, help='a ticket, or any checkpoint; or a name of ours'
    )
    args = arguments.parse_args()
    build_runner(args, load_from=str(args.checkpoint)).test()
    return 0


if __name__ == '__main__':
    sys.exit(main())
