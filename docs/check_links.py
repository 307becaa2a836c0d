"""Checks the built site: links lead to a page and a heading, and each example shows its own picture.

    python docs/check_links.py

Links that lead out of the site are listed in docs/_build/external_links.txt, each with its pages; ``nox -s linkcheck``
follows them.
"""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

DOCS = Path(__file__).resolve().parent
SITE = DOCS / "_build" / "html"


class Page(HTMLParser):
    """The anchors of a page, and where its links lead."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.targets: set[str] = set()
        self.of_article: set[str] = set()
        """Those of the text, not of the menus."""
        self.images: set[str] = set()
        self._in_article = False
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self._in_article |= tag == "article"
        if values.get("id"):
            self.anchors.add(str(values["id"]))
        if tag == "img" and values.get("src"):
            self.images.add(unquote(str(values["src"])))
        if tag == "a" and values.get("href"):
            self.targets.add(unquote(str(values["href"])))
            if self._in_article:
                self.of_article.add(unquote(str(values["href"])))

    def handle_endtag(self, tag: str) -> None:
        self._in_article &= tag != "article"


def lost(pages: dict[Path, Page]) -> list[str]:
    """Links of Markdown pages to other Markdown pages that are no links in the site."""
    told = []
    for source in [path for path in DOCS.rglob("*.md") if "_build" not in path.parts]:
        page = pages.get((SITE / source.relative_to(DOCS)).with_suffix(".html").resolve())
        prose = re.sub(r"^```.*?^```$", "", source.read_text(encoding="utf-8"), flags=re.M | re.S)
        for target in re.findall(r"\]\(([\w./-]+)\.md", prose):
            if page and not any(href.partition("#")[0] == f"{target}.html" for href in page.of_article):
                told.append(f"{source.relative_to(DOCS)}: {target}.md is no link")
    return told


def broken(pages: dict[Path, Page]) -> list[str]:
    """Links within the site that lead nowhere."""
    told = []
    for path, page in pages.items():
        for href in page.targets:
            name, _, anchor = href.partition("#")
            if re.match(r"[a-z]+:", href) or "?" in name:
                continue
            target = (path.parent / name).resolve() if name else path
            if not target.exists():
                told.append(f"{path.relative_to(SITE)}: {href} does not exist")
            elif anchor and target in pages and anchor not in pages[target].anchors:
                told.append(f"{path.relative_to(SITE)}: {href} has no such heading")
    return told


def mistaken(pages: dict[Path, Page]) -> list[str]:
    """Pages of examples that do not show their own picture."""
    told = []
    for picture in (DOCS / "auto_examples").rglob("images/*.png"):
        folder = picture.parents[1].relative_to(DOCS)
        path = (SITE / folder / f"{picture.stem.removeprefix('sphx_glr_')[:-4]}.html").resolve()
        shown = [path.parent / name for name in pages[path].images] if path in pages else []
        if picture.read_bytes() not in [image.read_bytes() for image in shown if image.exists()]:
            told.append(f"{path.relative_to(SITE)} does not show {picture.relative_to(DOCS)}")
    return told


def main() -> None:
    pages = {path.resolve(): Page(path) for path in SITE.rglob("*.html") if "_static" not in path.parts}
    faults = sorted(lost(pages) + broken(pages) + mistaken(pages))
    if not pages or faults:
        sys.exit("\n".join(faults) or f"no page in {SITE}")
    outside: dict[str, list[str]] = {}
    for path, page in sorted(pages.items()):
        for href in page.targets:
            if href.startswith("http"):
                outside.setdefault(href, []).append(path.relative_to(SITE).as_posix())
    listed = DOCS / "_build" / "external_links.txt"
    listed.write_text("".join(f"{href}  {' '.join(on)}\n" for href, on in sorted(outside.items())), encoding="utf-8")
    print(f"{len(outside)} links lead out of the site: {listed}")
    print(f"the links of all {len(pages)} pages lead somewhere")


if __name__ == "__main__":
    main()
