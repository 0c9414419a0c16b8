"""Reports of evaluations, comparisons and ablations: HTML, Markdown and JSON."""
