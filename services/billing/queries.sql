-- What billing writes and asks: its projections (their rows come sorted as the tables are), the closing of
-- months (within one lock), and auditors.

-- name: write_hours
-- Totals of keys and hours, where they are newer than what is known.
INSERT INTO billing.hour (
    key_id, hour, lineage_id, service_id, revision, requests, errors, predictions, compute_us, response_time_us
)
SELECT * FROM unnest(
    %(key_id)s::uuid[], %(hour)s::timestamptz[], %(lineage_id)s::uuid[], %(service_id)s::text[],
    %(revision)s::bigint[], %(requests)s::bigint[], %(errors)s::bigint[], %(predictions)s::bigint[],
    %(compute_us)s::bigint[], %(response_time_us)s::bigint[]
)
ON CONFLICT (key_id, hour) DO UPDATE SET
    lineage_id = excluded.lineage_id,
    service_id = excluded.service_id,
    revision = excluded.revision,
    requests = excluded.requests,
    errors = excluded.errors,
    predictions = excluded.predictions,
    compute_us = excluded.compute_us,
    response_time_us = excluded.response_time_us
WHERE hour.revision < excluded.revision;

-- name: write_accounts
-- Lineages that were created, unless they are known.
INSERT INTO billing.account (lineage_id, billing_plan, monthly_prediction_limit)
SELECT * FROM unnest(
    %(lineage_id)s::uuid[], %(billing_plan)s::text[], %(monthly_prediction_limit)s::bigint[]
)
ON CONFLICT DO NOTHING;

-- name: write_statements
-- Statements, but for those of months that have one. Returns which are new.
INSERT INTO billing.statement (lineage_id, month, partition, record_offset, total)
SELECT * FROM unnest(
    %(column_0)s::uuid[], %(column_1)s::date[], %(column_2)s::integer[], %(column_3)s::bigint[],
    %(column_4)s::numeric[]
)
ON CONFLICT DO NOTHING
RETURNING lineage_id, month;

-- name: write_lines
-- The lines of new statements.
INSERT INTO billing.statement_line (
    lineage_id, statement_month, position, kind, month, requests, predictions, compute_us,
    billable_predictions, unit_price, amount
)
SELECT * FROM unnest(
    %(column_0)s::uuid[], %(column_1)s::date[], %(column_2)s::integer[], %(column_3)s::text[],
    %(column_4)s::date[], %(column_5)s::bigint[], %(column_6)s::bigint[], %(column_7)s::bigint[],
    %(column_8)s::bigint[], %(column_9)s::numeric[], %(column_10)s::numeric[]
);

-- name: write_named
-- What new statements were computed from. A key and hour may be named by several statements.
INSERT INTO billing.hour (key_id, hour, lineage_id, named_revision)
SELECT key_id, hour, (array_agg(lineage_id))[1], max(revision)
FROM unnest(
    %(column_0)s::uuid[], %(column_1)s::timestamptz[], %(column_2)s::uuid[], %(column_3)s::bigint[]
) AS named (key_id, hour, lineage_id, revision)
GROUP BY key_id, hour ORDER BY key_id, hour
ON CONFLICT (key_id, hour) DO UPDATE SET
    named_revision = greatest(hour.named_revision, excluded.named_revision);

-- name: lock_closing
-- Whether nobody else is closing months in this database; held as long as the connection lives.
SELECT pg_try_advisory_lock(hashtextextended('hokusai-auth closing of months', 0));

-- name: due
-- Lineages with use, before a moment, that no statement has named: in which months, oldest first, apart by
-- whether the month has a statement, and the last month that has one.
SELECT lineage_id::text, account.lineage_id IS NOT NULL AS is_known,
       coalesce(array_agg(month ORDER BY month) FILTER (WHERE statement.lineage_id IS NULL), '{}') AS open,
       coalesce(array_agg(month ORDER BY month) FILTER (WHERE statement.lineage_id IS NOT NULL), '{}') AS late,
       (SELECT max(month) FROM billing.statement WHERE statement.lineage_id = unnamed.lineage_id) AS last_closed
FROM (
    SELECT DISTINCT lineage_id, date_trunc('month', hour AT TIME ZONE 'UTC')::date AS month
    FROM billing.hour
    WHERE revision > named_revision AND hour < %(before)s
) AS unnamed
LEFT JOIN billing.account USING (lineage_id)
LEFT JOIN billing.statement USING (lineage_id, month)
GROUP BY unnamed.lineage_id, account.lineage_id
ORDER BY unnamed.lineage_id;

-- name: positions
-- Up to where each partition of the topics is applied.
SELECT topic, partition, next_offset FROM billing.positions;

-- name: accounts_of
-- The terms of these lineages.
SELECT lineage_id::text, billing_plan, monthly_prediction_limit
FROM billing.account
WHERE lineage_id = ANY(%(lineage_ids)s::uuid[])
ORDER BY lineage_id;

-- name: use_of
-- All use of the months in which these lineages have use that no statement has named, each lineage's before
-- a moment of its own.
SELECT lineage_id::text, date_trunc('month', hour AT TIME ZONE 'UTC')::date AS month,
       sum(requests), sum(predictions), sum(compute_us)
FROM unnest(%(lineage_ids)s::uuid[], %(befores)s::timestamptz[]) AS closing (lineage_id, before)
JOIN billing.hour USING (lineage_id)
WHERE hour < before AND revision > 0
GROUP BY lineage_id, month
HAVING bool_or(revision > named_revision);

-- name: unnamed_of
-- The keys and hours of that use which no statement has named, with their revisions.
SELECT lineage_id::text, key_id::text, hour, revision
FROM unnest(%(lineage_ids)s::uuid[], %(befores)s::timestamptz[]) AS closing (lineage_id, before)
JOIN billing.hour USING (lineage_id)
WHERE hour < before AND revision > named_revision
ORDER BY lineage_id, key_id, hour;

-- name: billed_of
-- What all statements of these lineages have billed for each month.
SELECT lineage_id::text, month, sum(requests), sum(predictions), sum(compute_us), sum(billable_predictions),
       sum(amount)
FROM billing.statement_line
WHERE lineage_id = ANY(%(lineage_ids)s::uuid[])
GROUP BY lineage_id, month;

-- name: write_outgoing
-- Settle the bytes of a statement.
INSERT INTO billing.outgoing (lineage_id, month, value) VALUES (%(lineage_id)s, %(month)s, %(value)s)
ON CONFLICT DO NOTHING;

-- name: outgoing
-- Statements on their way, the oldest months first.
SELECT lineage_id::text, month, value FROM billing.outgoing ORDER BY month, lineage_id LIMIT %(limit)s;

-- name: settle_outgoing
-- Forget the bytes of statements that were read back from the log.
DELETE FROM billing.outgoing USING billing.statement
WHERE outgoing.lineage_id = statement.lineage_id AND outgoing.month = statement.month
RETURNING outgoing.lineage_id;

-- name: count_outgoing
-- How many statements are on their way.
SELECT count(*) FROM billing.outgoing;

-- name: all_hours
-- The ledger.
SELECT key_id::text, hour, lineage_id::text, service_id, revision, requests, errors, predictions, compute_us,
       response_time_us, named_revision
FROM billing.hour;

-- name: all_accounts
-- Every account.
SELECT lineage_id::text, billing_plan, monthly_prediction_limit FROM billing.account;

-- name: all_statements
-- Every statement.
SELECT lineage_id::text, month, partition, record_offset, total FROM billing.statement;

-- name: all_lines
-- Every line of every statement.
SELECT lineage_id::text, statement_month, position, kind, month, requests, predictions, compute_us,
       billable_predictions, unit_price, amount
FROM billing.statement_line;
