"""The doctor: looks at a whole installation, tells what is well and what is not, and changes nothing."""
