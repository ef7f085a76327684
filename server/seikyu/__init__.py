"""Seikyu (請求): hands for Japanese invoicing, with the seal in the operator's hand."""

__version__ = "0.1.0"
