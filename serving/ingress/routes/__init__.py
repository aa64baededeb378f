"""The routes of the interface, one router for each purpose."""
