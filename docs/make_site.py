"""Build the site of the pages: `make docs`.

The pages are written to be read in the repository, where a link leads to any file of it. So the
folders are laid out again under build/, with a page for everything that a link leads to: a module
of st_mm becomes the page of its docstrings, another file its text, a folder the list of its files.
Then mkdocs checks every link and anchor, and stops at the first that leads nowhere.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from nbconvert import MarkdownExporter

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / 'build' / 'docs'
PAGES, CODE = BUILD / 'pages', BUILD / 'code'

LINK = re.compile(r'(?<=\]\()(?!https?:|mailto:|#)([^)#\s]+)(?=[)#])')
FENCE = re.compile(r'^```.*?^```', re.MULTILINE | re.DOTALL)
LONG = re.compile(r'(?<![\w./:(-])[\w./-]{24,}(?![\w./)-])')  # a path in a cell, not in a link
ROLE = re.compile(r':\w+:`~?([^`]+)`')  # of Sphinx, in docstrings; here Markdown is read
LANGUAGES = {'.py': 'python', '.json': 'json', '.yml': 'yaml', '.c': 'c', '.h': 'c'}
PICTURES = {'.png', '.svg', '.jpg'}


def main() -> int:
    """Lay out the pages and let mkdocs build them; returns its exit code."""
    shutil.rmtree(BUILD, ignore_errors=True)
    written = [
        ROOT / name for name in ('README.md', 'README.zh-CN.md', 'CONTRIBUTING.md', 'CHANGELOG.md')
    ]
    written += [*ROOT.glob('docs/*.md'), *ROOT.glob('docs/*.ipynb')]
    written += ROOT.glob('configs/*/README.md')
    modules = [
        path
        for path in sorted(ROOT.glob('st_mm/**/*.py'))
        if '.mim' not in path.parts and path.name not in ('version.py', '__main__.py')
    ]
    for path in written:
        lay_out(path)
    for path in modules:
        lay_out(path)
    nav = {'API': packages(modules)}
    shutil.copy2(ROOT / 'docs' / 'site.css', PAGES / 'site.css')
    settings = yaml.safe_load((ROOT / 'mkdocs.yml').read_text(encoding='utf-8'))
    settings |= settings_of_build(settings, nav)
    (BUILD / 'mkdocs.yml').write_text(yaml.safe_dump(settings), encoding='utf-8')
    # not --quiet: mkdocs then does not count its warnings, and --strict finds none
    command = [
        sys.executable,
        '-m',
        'mkdocs',
        'build',
        '--strict',
        '-f',
        BUILD / 'mkdocs.yml',
    ]
    environment = {**os.environ, 'NO_MKDOCS_2_WARNING': '1'}
    # from the folder of the code, so that a page names its file as the repository does
    done = subprocess.run(command, check=False, env=environment, cwd=CODE)
    if not done.returncode:
        print(f'open {(ROOT / "build/site/index.html").as_uri()}')
    return done.returncode


def settings_of_build(settings: dict[str, Any], nav: dict[str, Any]) -> dict[str, Any]:
    """Return what depends on where it is built, and on which modules there are."""
    for plugin in settings['plugins']:
        if isinstance(plugin, dict) and 'mkdocstrings' in plugin:
            plugin['mkdocstrings']['handlers']['python']['paths'] = [str(CODE)]
    return dict(
        docs_dir=str(PAGES),
        site_dir=str(ROOT / 'build' / 'site'),
        nav=[*settings['nav'], nav],
        plugins=settings['plugins'],
    )


def packages(modules: list[Path]) -> list[dict[str, Any]]:
    """List the pages of modules, those of a package below its name, so that it can be folded."""
    found: list[dict[str, Any]] = []
    inside: dict[str, list[dict[str, str]]] = {}
    for path in modules:
        name, page = dotted(path).removeprefix('st_mm.'), page_of(path).as_posix()
        package, _, rest = name.partition('.')
        if rest:
            inside[package].append({rest: page})
        elif path.name == '__init__.py' and path.parent != ROOT / 'st_mm':
            inside[package] = [{f'st_mm.{package}': page}]  # sorted: before its modules
            found.append({package: inside[package]})
        else:
            found.append({name: page})
    return found


def page_of(path: Path) -> Path:
    """Where the page of a file or a folder lies, from the root of the pages."""
    inside = path.relative_to(ROOT)
    if path.is_dir():
        return inside / 'README.md'
    if path.suffix == '.md' or path.suffix in PICTURES:
        return inside
    return inside.with_name(f'{inside.name}.md')


def lay_out(path: Path) -> None:
    """Write the page of a file or a folder, and those that it leads to."""
    target = PAGES / page_of(path)
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in PICTURES:
        shutil.copy2(path, target)
    elif path.is_dir():
        files = sorted(child for child in path.iterdir() if child.is_file())
        lines = [f'- [{child.name}]({page_of(child).name})' for child in files]
        target.write_text('\n'.join([f'# {path.relative_to(ROOT)}', '', *lines]), encoding='utf-8')
        for child in files:
            lay_out(child)
    elif path.suffix == '.md':
        target.touch()  # pages lead to each other
        target.write_text(with_links(path.read_text(encoding='utf-8'), path), encoding='utf-8')
    elif path.suffix == '.ipynb':
        target.touch()
        text, pictures = MarkdownExporter().from_filename(str(path))
        target.write_text(with_links(text, path), encoding='utf-8')
        for name, content in pictures['outputs'].items():
            (target.parent / name).write_bytes(content)
    elif path.suffix == '.py' and path.is_relative_to(ROOT / 'st_mm'):
        copy = CODE / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(ROLE.sub(r'`\1`', path.read_text(encoding='utf-8')), encoding='utf-8')
        target.write_text(f'# {dotted(path)}\n\n::: {dotted(path)}\n', encoding='utf-8')
    else:
        text = path.read_text(encoding='utf-8')
        fence = f'````{LANGUAGES.get(path.suffix, "text")}\n{text}\n````\n'
        target.write_text(f'# {path.relative_to(ROOT)}\n\n{fence}', encoding='utf-8')


def with_links(text: str, page: Path) -> str:
    """Return the text of a page with links to the pages of what it leads to, and write those."""

    def follow(match: re.Match[str]) -> str:
        target = (page.parent / match[1]).resolve()
        if not target.exists() or not target.is_relative_to(ROOT):
            return match[0]  # mkdocs says so
        lay_out(target)
        shown = page_of(target)
        up = '../' * len(page.relative_to(ROOT).parent.parts)
        return f'{up}{shown.as_posix()}'

    parts, end = [], 0
    for code in FENCE.finditer(text):
        parts += [with_breaks(LINK.sub(follow, text[end : code.start()])), code[0]]
        end = code.end()
    return ''.join([*parts, with_breaks(LINK.sub(follow, text[end:]))])


def with_breaks(text: str) -> str:
    """Return a text whose tables fit: long paths in their cells may break after a part."""
    lines = text.split('\n')
    for number, line in enumerate(lines):
        if line.startswith('|'):
            pieces = line.split('`')  # every other one is code
            for place in range(0, len(pieces), 2):
                pieces[place] = LONG.sub(
                    lambda word: re.sub(r'(?<=[/_])(?=\w)', '<wbr>', word[0]), pieces[place]
                )
            lines[number] = '`'.join(pieces)
    return '\n'.join(lines)


def dotted(path: Path) -> str:
    """Name of a module by its file."""
    parts = path.relative_to(ROOT).with_suffix('').parts
    return '.'.join(parts[:-1] if parts[-1] == '__init__' else parts)


if __name__ == '__main__':
    sys.exit(main())
