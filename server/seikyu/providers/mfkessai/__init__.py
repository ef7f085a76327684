"""Money Forward Kessai (MFK): deferred payment between companies, API v2."""
