"""Python imports this first in every process that a watched test run starts: the process keeps a diary."""

from canary.diary import keep_diary

keep_diary()
