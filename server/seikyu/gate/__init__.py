"""Every write, exactly once, decided by the right people, provable."""
