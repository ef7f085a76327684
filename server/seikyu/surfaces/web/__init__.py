"""The approval page: what accounting staff open in a browser to read a proposed write and decide on it."""

from seikyu.surfaces.web.counter import ApprovalRooms
from seikyu.surfaces.web.pages import approval_routes

__all__ = ["ApprovalRooms", "approval_routes"]
