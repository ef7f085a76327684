"""What providers tell us by themselves: taken in when signed, kept before it is answered, and looked into later."""

from seikyu.surfaces.webhooks.kessai import Hooks, webhook_routes

__all__ = ["Hooks", "webhook_routes"]
