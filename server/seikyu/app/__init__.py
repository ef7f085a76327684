"""The composition root: the one package that names concrete classes and builds things."""

from seikyu.app.home import Home, open_house, open_to_stop
from seikyu.app.patient import find_patient

__all__ = ["Home", "find_patient", "open_house", "open_to_stop"]
