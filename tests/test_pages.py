"""The files at the top that no other test reads: they parse, and agree with the package."""

import re
from pathlib import Path

import yaml

from st_mm import __version__

ROOT = Path(__file__).parents[1]


def read_yaml(name: str) -> dict:
    return yaml.safe_load((ROOT / name).read_text(encoding='utf-8'))


def test_citation_names_this_version_and_the_paper() -> None:
    citation = read_yaml('CITATION.cff')
    assert citation['version'] == __version__
    assert citation['license'] == 'Apache-2.0'
    assert {'cff-version', 'message', 'title', 'authors'} <= citation.keys()
    paper = citation['preferred-citation']
    assert [identifier['value'] for identifier in paper['identifiers']] == ['arXiv:2207.03677']
    assert paper['authors'][0]['family-names'] == 'You'


def test_changelog_begins_with_what_is_not_released() -> None:
    text = (ROOT / 'CHANGELOG.md').read_text(encoding='utf-8')
    versions = re.findall(r'^## (\S+)', text, flags=re.MULTILINE)
    assert versions[:2] == ['Unreleased', __version__]


def test_new_names_in_the_changelog_can_be_imported() -> None:
    text = (ROOT / 'CHANGELOG.md').read_text(encoding='utf-8')
    moves = re.findall(r'^\| `st_mm\.([\w.]+)` \| `st_mm\.([\w.]+)` \|$', text, re.MULTILINE)
    assert moves
    for _, new in moves:
        assert (ROOT / 'st_mm' / (new.replace('.', '/') + '.py')).is_file(), new


def test_commit_hooks_run_what_is_there() -> None:
    [repository] = read_yaml('.pre-commit-config.yaml')['repos']
    entries = [hook['entry'].split() for hook in repository['hooks']]
    assert [words[0].rpartition('/')[2] for words in entries] == [
        'ruff',
        'ruff',
        'python',
        'python',
    ]
    for words in entries:
        for word in words:
            assert not word.startswith('tests/') or (ROOT / word).is_file(), word
