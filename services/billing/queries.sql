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

-- name: lock_statements
-- Who reads a part of these statements, and who reads another one, come one after the other.
SELECT pg_advisory_xact_lock(hashtextextended('hokusai-auth statement ' || place, 0))
FROM (SELECT place FROM unnest(%(places)s::text[]) AS place ORDER BY place) AS in_order;

-- name: write_statements
-- Statements, but for those of months that have one. Returns which are new.
INSERT INTO billing.statement (lineage_id, month, partition, record_offset, total, parts, digest)
SELECT * FROM unnest(
    %(column_0)s::uuid[], %(column_1)s::date[], %(column_2)s::integer[], %(column_3)s::bigint[],
    %(column_4)s::numeric[], %(column_5)s::integer[], %(column_6)s::text[]
)
ON CONFLICT DO NOTHING
RETURNING lineage_id, month;

-- name: write_part
-- A part of a statement, unless it is known.
INSERT INTO billing.statement_part (lineage_id, month, digest, part, revisions)
VALUES (%(lineage_id)s, %(month)s, %(digest)s, %(part)s, %(revisions)s)
ON CONFLICT DO NOTHING;

-- name: apply_part
-- One part of these statements that is read, whose statement is read as well, and that the ledger knows nothing
-- of: it does from now on.
UPDATE billing.statement_part AS part SET is_applied = true
FROM (
    SELECT lineage_id, month, digest, part
    FROM unnest(%(lineage_ids)s::uuid[], %(months)s::date[]) AS place (lineage_id, month)
    JOIN billing.statement USING (lineage_id, month)
    JOIN billing.statement_part USING (lineage_id, month, digest)
    WHERE NOT is_applied
    ORDER BY lineage_id, month, part LIMIT 1
) AS next
WHERE (part.lineage_id, part.month, part.digest, part.part)
    = (next.lineage_id, next.month, next.digest, next.part)
RETURNING part.lineage_id::text, part.revisions;

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
-- The next lineages of months, oldest months first, with use that no statement has named: whether somebody has
-- created the lineage; whether it waits for a statement that is on its way; how many such hours it has, and in
-- which months, apart by whether the month has a statement; and the last month that has one. Each row is found by
-- a probe of an index, whatever the ledger holds.
WITH RECURSIVE place AS (
    (
        SELECT month, lineage_id FROM billing.hour
        WHERE revision > named_revision AND month < %(before)s
          AND (month, lineage_id) > (%(month)s::date, %(lineage_id)s::uuid)
        ORDER BY month, lineage_id LIMIT 1
    )
    UNION ALL
    SELECT next.month, next.lineage_id
    FROM place CROSS JOIN LATERAL (
        SELECT month, lineage_id FROM billing.hour
        WHERE revision > named_revision AND month < %(before)s
          AND (month, lineage_id) > (place.month, place.lineage_id)
        ORDER BY month, lineage_id LIMIT 1
    ) AS next
)
SELECT page.month, page.lineage_id::text,
       EXISTS (SELECT FROM billing.account WHERE account.lineage_id = page.lineage_id),
       EXISTS (SELECT FROM billing.outgoing WHERE outgoing.lineage_id = page.lineage_id)
           OR EXISTS (SELECT FROM billing.statement_in_parts_unread AS unread
                      WHERE unread.lineage_id = page.lineage_id),
       unnamed.hours, unnamed.open, unnamed.late,
       (SELECT max(month) FROM billing.statement WHERE statement.lineage_id = page.lineage_id)
FROM (SELECT month, lineage_id FROM place LIMIT %(rows)s) AS page
CROSS JOIN LATERAL (
    SELECT sum(hours)::bigint AS hours,
           coalesce(array_agg(each.month ORDER BY each.month) FILTER (WHERE NOT is_closed), '{}') AS open,
           coalesce(array_agg(each.month ORDER BY each.month) FILTER (WHERE is_closed), '{}') AS late
    FROM (
        SELECT series::date AS month, found.hours,
               EXISTS (SELECT FROM billing.statement
                       WHERE statement.lineage_id = page.lineage_id AND statement.month = series::date) AS is_closed
        FROM generate_series(
            (SELECT month FROM billing.hour WHERE revision > named_revision ORDER BY month, lineage_id LIMIT 1)::timestamp,
            %(before)s::timestamp - interval '1 month',
            interval '1 month'
        ) AS series
        CROSS JOIN LATERAL (
            SELECT count(*) AS hours FROM billing.hour
            WHERE revision > named_revision AND hour.month = series::date AND hour.lineage_id = page.lineage_id
        ) AS found
        WHERE found.hours > 0
    ) AS each
) AS unnamed
ORDER BY page.month, page.lineage_id;

-- name: announced_until
-- Up to when uses are in usage.hourly.
SELECT announced_until FROM billing.watermark;

-- name: announce
-- Uses are in usage.hourly up to then, if that was not known yet.
UPDATE billing.watermark SET announced_until = greatest(announced_until, %(until)s)
WHERE announced_until IS DISTINCT FROM greatest(announced_until, %(until)s);

-- name: complete
-- Uses are in the ledger up to then.
UPDATE billing.watermark SET complete_until = greatest(complete_until, %(until)s);

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
-- All use of the months in which these lineages have use that no statement has named, up to a month of each.
WITH unnamed AS MATERIALIZED (
    SELECT closing.lineage_id, series::date AS month
    FROM unnest(%(lineage_ids)s::uuid[], %(months)s::date[]) AS closing (lineage_id, last)
    CROSS JOIN LATERAL generate_series(
        (SELECT month FROM billing.hour WHERE revision > named_revision ORDER BY month, lineage_id LIMIT 1)::timestamp,
        closing.last::timestamp,
        interval '1 month'
    ) AS series
    WHERE EXISTS (
        SELECT FROM billing.hour
        WHERE revision > named_revision AND hour.month = series::date AND hour.lineage_id = closing.lineage_id
    )
)
SELECT lineage_id::text, month, requests, predictions, compute_us
FROM unnamed CROSS JOIN LATERAL (
    SELECT sum(requests) AS requests, sum(predictions) AS predictions, sum(compute_us) AS compute_us
    FROM billing.hour
    WHERE hour.lineage_id = unnamed.lineage_id AND revision > 0
      AND hour >= unnamed.month::timestamp AT TIME ZONE 'UTC'
      AND hour < (unnamed.month + interval '1 month') AT TIME ZONE 'UTC'
) AS used;

-- name: unnamed_of
-- The keys and hours of these lineages which no statement has named, up to a month of each, with their revisions.
WITH unnamed AS MATERIALIZED (
    SELECT closing.lineage_id, series::date AS month
    FROM unnest(%(lineage_ids)s::uuid[], %(months)s::date[]) AS closing (lineage_id, last)
    CROSS JOIN LATERAL generate_series(
        (SELECT month FROM billing.hour WHERE revision > named_revision ORDER BY month, lineage_id LIMIT 1)::timestamp,
        closing.last::timestamp,
        interval '1 month'
    ) AS series
    WHERE EXISTS (
        SELECT FROM billing.hour
        WHERE revision > named_revision AND hour.month = series::date AND hour.lineage_id = closing.lineage_id
    )
)
SELECT lineage_id::text, key_id::text, hour, revision
FROM unnamed JOIN billing.hour USING (month, lineage_id)
WHERE revision > named_revision
ORDER BY lineage_id, key_id, hour;

-- name: billed_of
-- What all statements of these lineages have billed for each month.
SELECT lineage_id::text, month, sum(requests), sum(predictions), sum(compute_us), sum(billable_predictions),
       sum(amount)
FROM billing.statement_line
WHERE lineage_id = ANY(%(lineage_ids)s::uuid[])
GROUP BY lineage_id, month;

-- name: write_outgoing
-- Settle the bytes of a part of a statement, unless other bytes of the statement are settled.
INSERT INTO billing.outgoing (lineage_id, month, part, value)
VALUES (%(lineage_id)s, %(month)s, %(part)s, %(value)s)
ON CONFLICT DO NOTHING;

-- name: outgoing
-- Statements on their way, the oldest months first, of each the further parts before the statement itself.
SELECT lineage_id::text, month, part, value FROM billing.outgoing
WHERE %(lineage_id)s::uuid IS NULL
   OR (month, lineage_id, -part) > (%(month)s::date, %(lineage_id)s::uuid, -%(part)s::integer)
ORDER BY month, lineage_id, part DESC LIMIT %(rows)s;

-- name: settle_outgoing
-- Forget the bytes of statements of which all parts were read back from the log.
DELETE FROM billing.outgoing USING billing.statement
WHERE outgoing.lineage_id = statement.lineage_id AND outgoing.month = statement.month
  AND NOT EXISTS (
    SELECT FROM billing.statement_in_parts_unread AS unread
    WHERE unread.lineage_id = outgoing.lineage_id AND unread.month = outgoing.month
  )
RETURNING outgoing.lineage_id, outgoing.month;

-- name: numbers
-- How many statements are on their way, how many lack parts, and up to when the ledger is complete.
SELECT (SELECT count(*) FROM billing.outgoing WHERE part = 1),
       (SELECT count(*) FROM billing.statement_in_parts_unread),
       coalesce(extract(epoch FROM complete_until), 0)::float8
FROM billing.watermark;

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
SELECT lineage_id::text, month, partition, record_offset, total, parts, digest FROM billing.statement;

-- name: all_parts
-- Every further part of a statement.
SELECT lineage_id::text, month, digest, part, revisions FROM billing.statement_part;

-- name: watermark
-- Up to when the ledger is said to be complete.
SELECT greatest(announced_until, complete_until) FROM billing.watermark;

-- name: all_lines
-- Every line of every statement.
SELECT lineage_id::text, statement_month, position, kind, month, requests, predictions, compute_us,
       billable_predictions, unit_price, amount
FROM billing.statement_line;
