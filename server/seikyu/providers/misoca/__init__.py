"""Misoca: estimates, delivery slips and invoices."""
