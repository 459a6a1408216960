"""Train a config of any of the three libraries: what `mim train st_mm CONFIG` runs."""

import sys

from launch import build_runner, parser


def main() -> int:
    """Run the command line."""
    arguments = parser(__doc__)
    arguments.add_argument(
        '--resume',
        nargs='?',
        const='auto',
        metavar='CKPT',
        help='go on from a checkpoint, or from the last one of the work dir',
    )
    args = arguments.parse_args()
    build_runner(args, resume=args.resume).train()
    return 0


if __name__ == '__main__':
    sys.exit(main())
