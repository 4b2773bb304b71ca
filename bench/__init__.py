"""Measurements of the whole product on this machine: `python -m bench [NAME…]`, see `__main__`."""
