"""Views of a validation report: JSON, HTML, JUnit, Markdown, terminal. Each is made of the report alone."""
