-- name: oldest_record
SELECT count(*) AS total, min(at) AS at FROM audit;

-- name: oldest_action
SELECT min(business_day) AS day FROM action;

-- name: document_days
SELECT file_sha256, max(business_day) AS business_day FROM action WHERE file_sha256 IS NOT NULL GROUP BY file_sha256;
