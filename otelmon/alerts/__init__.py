"""Alerts: rules, what they are judged by, their states, and who is told."""
