-- What has been used, and what it comes to. `is_filled`: the picture is whole since it was last rebuilt; it is
-- told in the same breath as the sums, so that nobody sees a part of them. Every query of sums has a row at least.

-- name: month_of_use
-- The largest endpoints of a lineage in a month, each beside the sums over all of them.
SELECT is_filled, endpoint, count, requests, errors, predictions, compute_us, response_time_us
FROM (
    SELECT coalesce(bool_and(is_filled), false) AS is_filled
    FROM projector.filled WHERE topic = %(topic)s
) AS whole
LEFT JOIN (
    SELECT endpoint,
           sum(requests)                       AS count,
           sum(sum(requests)) OVER ()          AS requests,
           sum(sum(errors)) OVER ()            AS errors,
           sum(sum(predictions)) OVER ()       AS predictions,
           sum(sum(compute_us)) OVER ()        AS compute_us,
           sum(sum(response_time_us)) OVER ()  AS response_time_us
    FROM projector.usage_months
    WHERE lineage_id = %(lineage_id)s::uuid AND month = %(month)s
    GROUP BY endpoint
    ORDER BY count DESC, endpoint COLLATE "C"
    LIMIT %(endpoints)s
) AS used ON true
ORDER BY count DESC, endpoint COLLATE "C";

-- name: charges
-- What a lineage has used in a month as billing counts it, and what that costs beyond the plan.
SELECT is_filled, requests, predictions, compute_us, overage
FROM (
    SELECT count(*) FILTER (WHERE is_filled) = cardinality(%(topics)s::text[]) AS is_filled
    FROM billing.filled WHERE topic = ANY(%(topics)s::text[])
) AS whole
LEFT JOIN billing.months ON lineage_id = %(lineage_id)s::uuid AND month = %(month)s;

-- name: days_of_use
-- The sums of each day and service, by the service that reported them; one more than anybody is told.
SELECT is_filled, day, service_id, requests, errors, predictions, compute_us, response_time_us
FROM (
    SELECT coalesce(bool_and(is_filled), false) AS is_filled
    FROM projector.filled WHERE topic = %(topic)s
) AS whole
LEFT JOIN projector.usage_days
    ON day BETWEEN %(first)s AND %(last)s
    AND (%(services)s::text[] IS NULL OR service_id = ANY(%(services)s::text[]))
ORDER BY day, service_id COLLATE "C"
LIMIT %(most)s;

-- name: content
-- What the use of this identity states that counts, where the picture is whole. No row where none is known.
SELECT content
FROM projector.usage_identities
WHERE identity = %(identity)s::uuid AND period BETWEEN %(first)s AND %(last)s
  AND EXISTS (SELECT FROM projector.filled WHERE topic = %(topic)s AND is_filled)
ORDER BY partition <> %(home)s, partition, record_offset
LIMIT 1;
