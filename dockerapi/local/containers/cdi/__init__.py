"""Devices by the Container Device Interface: what vendors describe, given to containers."""
