-- What every keeper of a schema asks; the schema stands first in the connection's search path.

-- name: lock_schema
-- One process at a time looks at a schema and makes it; until the end of the transaction.
SELECT pg_advisory_xact_lock(hashtextextended('hokusai-auth schema ' || %(schema)s, 0));

-- name: has_schema_version
-- Whether the schema is there, in any version.
SELECT to_regclass('schema_version') IS NOT NULL;

-- name: schema_version
-- The version that the schema was made in. Nobody drops the schema before this transaction ends.
SELECT version FROM schema_version;

-- name: remember_schema_version
-- The version that the schema is made in.
INSERT INTO schema_version (version) VALUES (%(version)s);

-- name: create_common
-- What every such schema has. `log_identity`: whose log the rows were made from. `projection_offset`: how far
-- each partition is applied, and which claim may apply more of it (see events/projection.sql). `fill_goal`:
-- what the log held when the schema was made, so that readers can tell a picture from half of one. `log_mark`:
-- what stood in the log at some offsets when it was read. `log_refusal`: partitions where something else stands
-- by now, or nothing. `log_loss`: what an operator has said about those.
CREATE TABLE schema_version (version integer NOT NULL);
CREATE TABLE log_identity (
    cluster_id      text    NOT NULL,
    lifecycle_topic text    NOT NULL,
    only_row        boolean PRIMARY KEY DEFAULT true CHECK (only_row)
);
CREATE TABLE projection_offset (
    projection  text    NOT NULL,
    topic       text    NOT NULL,
    partition   integer NOT NULL,
    next_offset bigint  NOT NULL,
    owner_epoch bigint  NOT NULL,
    PRIMARY KEY (projection, topic, partition)
) WITH (fillfactor = 10);  -- every batch updates a row: leave room for that beside it
CREATE TABLE fill_goal (
    topic     text    NOT NULL,
    partition integer NOT NULL,
    goal      bigint  NOT NULL,
    PRIMARY KEY (topic, partition)
);
CREATE TABLE log_mark (
    topic         text    NOT NULL,
    partition     integer NOT NULL,
    second        bigint  NOT NULL,
    record_offset bigint  NOT NULL,
    appended_ms   bigint  NOT NULL,
    digest        bigint  NOT NULL,
    is_confirmed  boolean NOT NULL DEFAULT false,
    PRIMARY KEY (topic, partition, second)
);
CREATE TABLE log_refusal (
    topic      text        NOT NULL,
    partition  integer     NOT NULL,
    first_lost bigint      NOT NULL,
    applied_to bigint      NOT NULL,
    why        text        NOT NULL,
    refused_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (topic, partition)
);
CREATE TABLE log_loss (
    topic       text        NOT NULL,
    partition   integer     NOT NULL,
    first_lost  bigint      NOT NULL,
    applied_to  bigint      NOT NULL,
    why         text        NOT NULL,
    refused_at  timestamptz NOT NULL,
    accepted_at timestamptz NOT NULL DEFAULT now(),
    actor       text        NOT NULL,
    reason      text        NOT NULL,
    lost        jsonb       NOT NULL
);
-- Marks that were never compared with the log, and of each partition the newest one that was: where that one
-- agrees, so does all that stands before it.
CREATE VIEW open_marks AS
    SELECT topic, partition, record_offset, appended_ms, digest
    FROM log_mark AS mark
    WHERE NOT is_confirmed OR record_offset = (
        SELECT max(record_offset) FROM log_mark AS other
        WHERE other.topic = mark.topic AND other.partition = mark.partition AND other.is_confirmed
    );
CREATE VIEW refusals AS SELECT topic, partition, first_lost, applied_to, why FROM log_refusal;
CREATE VIEW positions AS SELECT topic, partition, next_offset FROM projection_offset;
CREATE VIEW identity AS SELECT cluster_id, lifecycle_topic FROM log_identity;
CREATE VIEW filled AS
    SELECT topic, bool_and(goal = 0 OR coalesce(next_offset >= goal, false)) AS is_filled
    FROM fill_goal LEFT JOIN positions USING (topic, partition) GROUP BY topic;

-- name: known_log
-- Whose log the rows were made from; no row while nothing was made yet, or by a version that did not know.
SELECT known->>'cluster_id', known->>'lifecycle_topic'
FROM (SELECT to_jsonb(log_identity) AS known FROM log_identity) AS any_version
WHERE known ? 'lifecycle_topic';

-- name: remember_log
-- Whose log the rows will be made from, unless that is settled.
INSERT INTO log_identity (cluster_id, lifecycle_topic) VALUES (%(cluster_id)s, %(lifecycle_topic)s)
ON CONFLICT DO NOTHING;

-- name: has_goals
-- Whether it is settled from where on the schema counts as filled.
SELECT EXISTS (SELECT FROM fill_goal);

-- name: set_goal
-- From where on a partition counts as filled, unless that is settled.
INSERT INTO fill_goal (topic, partition, goal) VALUES (%(topic)s, %(partition)s, %(goal)s)
ON CONFLICT DO NOTHING;

-- name: what_may_be_read
-- Whether this role may look into the schema; no row where there is none.
SELECT has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname = %(schema)s;

-- name: all_positions
-- Up to where the rows follow from each partition of the log.
SELECT topic, partition, next_offset FROM positions;

-- name: has_log_tables
-- Whether the schema remembers what stood in the log.
SELECT to_regclass('log_mark') IS NOT NULL;

-- name: save_log_tables
-- What is known of the log itself, whatever follows from it.
SELECT json_build_object(
    'marks', (SELECT coalesce(json_agg(log_mark), '[]') FROM log_mark),
    'refusals', (SELECT coalesce(json_agg(log_refusal), '[]') FROM log_refusal),
    'losses', (SELECT coalesce(json_agg(log_loss), '[]') FROM log_loss)
);

-- name: restore_marks
-- What stood in the log.
INSERT INTO log_mark SELECT * FROM jsonb_populate_recordset(NULL::log_mark, %(rows)s);

-- name: restore_refusals
-- What it was found to have lost.
INSERT INTO log_refusal SELECT * FROM jsonb_populate_recordset(NULL::log_refusal, %(rows)s);

-- name: restore_losses
-- What was said about that.
INSERT INTO log_loss SELECT * FROM jsonb_populate_recordset(NULL::log_loss, %(rows)s);
