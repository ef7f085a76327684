"""Twins of the providers: strict, stateful stand-ins for the demo, the tests and a user's rehearsal.

They know nothing of the rest of Seikyu, so that they can contradict it.
"""
