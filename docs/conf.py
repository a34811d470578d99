"""How Sphinx builds the pages of this folder: `make docs`. Warnings are errors, and so are links that lead nowhere."""

import sys
from pathlib import Path

from d2plm_megatron import __version__

sys.path.insert(0, str(Path(__file__).parent))

project = "d2plm_megatron"
author = "The d2plm_megatron authors"
copyright = "2026, the d2plm_megatron authors, Apache-2.0"
release = __version__

extensions = ["myst_parser", "options"]
myst_heading_anchors = 3  # headings are linked to by the names that GitHub gives them
nitpicky = True
exclude_patterns = ["build"]
highlight_language = "text"
linkcheck_timeout = 20

html_theme = "furo"
html_title = f"d2plm_megatron {release}"
html_copy_source = False
