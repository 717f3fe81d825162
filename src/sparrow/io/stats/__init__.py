"""What columns hold: sketches that merge, scanned from files, shown as a page."""
