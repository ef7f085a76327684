-- Master keys that were taken out of the ring for good: nobody seals with one any more, whatever ring they know.
CREATE TABLE dropped_key (
    key_id TEXT PRIMARY KEY,
    dropped_at TEXT NOT NULL
);
