"""Slack: requests are shown in a channel, and operators who are linked decide there."""

from seikyu.surfaces.slack.errands import Errands
from seikyu.surfaces.slack.interactions import SlackRooms, slack_routes
from seikyu.surfaces.slack.notifier import SlackNotifier

__all__ = ["Errands", "SlackNotifier", "SlackRooms", "slack_routes"]
