CREATE TABLE "freeze" (
    seq INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    at TEXT NOT NULL,
    os_user TEXT NOT NULL,
    operator TEXT,
    reason TEXT NOT NULL,
    seal TEXT
);
