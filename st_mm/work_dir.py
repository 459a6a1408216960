"""The rules of a work dir: which checkpoint a training goes on from, and what a kill leaves."""

from pathlib import Path

from .files import write_atomically

INITIAL = 'initial.pth'  # the weights before the first step
ASIDE = ('best_', INITIAL)  # checkpoints that no training goes on from


def tidy_work_dir(work_dir: str | Path) -> None:
    """Clear away what a kill has left in a work dir, before a run is resumed from it.

    mmengine writes ``last_checkpoint`` in place, so that a kill can leave it empty, and removes
    checkpoints that it has enough of before a new one is named there. The note then gets the newest
    checkpoint. Parts of files that never came into their place are removed.

    Args:
        work_dir (str | Path): Work dir of the run; may be new.
    """
    work_dir = Path(work_dir).resolve()
    for partial in work_dir.glob('.*.part'):
        partial.unlink()
    note = work_dir / 'last_checkpoint'
    if not note.is_file():
        return
    text = note.read_text().strip()
    named = Path(text).resolve()
    if text and (named.is_file() or named.parent != work_dir):
        return
    saved = [path for path in work_dir.glob('*.pth') if not path.name.startswith(ASIDE)]
    if saved:
        newest = max(saved, key=lambda path: path.stat().st_mtime)
        write_atomically(note, str(newest).encode())
    else:
        note.unlink()
