//! What people look at after a run: SVG plots, tables, one HTML page.
