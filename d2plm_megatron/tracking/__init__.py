"""Trackers: where a run can be watched beside its own log. Whatever becomes of them, the training goes on.

New here: a service that shows runs.
"""
