-- What an auditor asks of billing; the tables themselves are read by the `all_` queries of `queries.sql`.

-- name: due_months
-- Months that should have been closed by now, and of how many lineages: use before a moment that no statement
-- has named, of lineages that were created. What is told late of a closed month comes with the statement of
-- the first month after the last closed one, and is due when that is.
SELECT month, count(*)
FROM (
    SELECT DISTINCT lineage_id, date_trunc('month', hour AT TIME ZONE 'UTC')::date AS month
    FROM billing.hour
    WHERE revision > named_revision AND hour < %(before)s
) AS unnamed
JOIN billing.account USING (lineage_id)
WHERE NOT EXISTS (SELECT FROM billing.statement AS own WHERE own.lineage_id = unnamed.lineage_id
                                                          AND own.month = unnamed.month)
   OR (SELECT max(last.month) FROM billing.statement AS last WHERE last.lineage_id = unnamed.lineage_id)
      < %(last_due)s
GROUP BY month ORDER BY month;

-- name: count_outgoing
-- How many statements are on their way.
SELECT count(*) FROM billing.outgoing WHERE part = 1;
