"""freee: accounting and freee請求書."""
