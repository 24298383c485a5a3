"""One module for each kind of source: from what lies on disk to labelled images."""
