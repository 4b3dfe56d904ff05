"""How long arms take, side by side, and what that shows."""
