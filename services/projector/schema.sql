-- The read models of the log. All of it can be dropped: the projector fills it again, row for row.
-- No column holds a processing time, or anything else that is not a function of the records.

CREATE TABLE projector.lineage (
    lineage_id uuid   PRIMARY KEY,
    sequence   bigint NOT NULL,
    parked     text
);
CREATE INDEX lineage_parked ON projector.lineage (lineage_id) WHERE parked IS NOT NULL;

-- The lineage says which row this is, not the key_id: should an event ever issue the key_id of another
-- lineage's key, the rows are still those of the fold.
CREATE TABLE projector.key (
    lineage_id               uuid        NOT NULL,
    position                 integer     NOT NULL,
    key_id                   uuid        NOT NULL,
    name                     text        NOT NULL,
    user_id                  text        NOT NULL,
    service_id               text        NOT NULL,
    environment              text        NOT NULL,
    scopes                   text[]      NOT NULL,
    allowed_ips              text[]      NOT NULL,
    rate_limit_per_hour      bigint      NOT NULL,
    monthly_prediction_limit bigint,
    billing_plan             text        NOT NULL,
    lifetime_days            bigint,
    key_prefix               text        NOT NULL,
    bcrypt_hash              text        NOT NULL,
    fingerprint              bytea       NOT NULL,
    pepper_id                text        NOT NULL,
    created_at               timestamptz NOT NULL,
    expires_at               timestamptz,
    revoked_at               timestamptz,
    superseded_by            uuid,
    valid_until              timestamptz,
    PRIMARY KEY (lineage_id, position)
);
CREATE INDEX key_by_id ON projector.key (key_id);
CREATE INDEX key_by_age ON projector.key (created_at, key_id);

-- The audit trail: every record of keys.lifecycle with what became of it. Records that could not be read
-- have no event columns; their lineage is that of the record key, where it is one.
CREATE TABLE projector.key_event (
    topic         text    NOT NULL,
    partition     integer NOT NULL,
    record_offset bigint  NOT NULL,
    lineage_id    uuid,
    key_id        uuid,
    event_id      text,
    type          text,
    sequence      bigint,
    time          timestamptz,
    actor         text,
    correlationid text,
    outcome       text    NOT NULL,
    PRIMARY KEY (partition, record_offset)
);
CREATE INDEX key_event_of_lineage ON projector.key_event (lineage_id, sequence);

-- Whose use has been counted: see `events/usage_identity.py` and `usage_duplicates.py`. A table of its own for
-- each period of append, made when its first record comes, dropped when no record can come any more that is
-- near it. They are children of this one, which stays empty.
CREATE TABLE projector.usage_identity (
    identity      uuid    NOT NULL,
    period        integer NOT NULL,
    partition     integer NOT NULL,
    record_offset bigint  NOT NULL,
    content       bigint  NOT NULL,
    facts         text
);
CREATE INDEX usage_identity_index ON projector.usage_identity (identity);

-- Uses whose key nobody had created, until one of their identity counts: what a replay may make count. This
-- table alone depends on what of keys.lifecycle was there when a use was judged.
CREATE TABLE projector.usage_refused (
    partition     integer NOT NULL,
    record_offset bigint  NOT NULL,
    appended_ms   bigint  NOT NULL,
    key_id        uuid    NOT NULL,
    event_id      text    NOT NULL,
    digest        bytea   NOT NULL,
    PRIMARY KEY (partition, record_offset, key_id, event_id)  -- a record may be a batch of uses
);
CREATE INDEX usage_refused_of_key ON projector.usage_refused (key_id, event_id);
CREATE INDEX usage_refused_by_age ON projector.usage_refused (partition, appended_ms);

-- The broker's time of the newest record applied, by partition of keys.usage.
CREATE TABLE projector.usage_progress (
    partition   integer     PRIMARY KEY,
    appended_at timestamptz NOT NULL
);

-- Sums of distinct uses. Times are in microseconds, so that a sum does not depend on its order. Sums of months
-- and days are numeric, because nobody vouches for what is reported: 64 bits overflow after 100 million reports
-- of a day each. `revision`: the number of uses, and two for each record that another one of its identity
-- precedes in another partition. It grows with every change; where all that was counted was withdrawn, it is
-- what is left of the row.
CREATE TABLE projector.usage_hour (
    key_id           uuid        NOT NULL,
    hour             timestamptz NOT NULL,
    lineage_id       uuid        NOT NULL,
    revision         bigint      NOT NULL,
    requests         bigint      NOT NULL,
    errors           bigint      NOT NULL,
    predictions      bigint      NOT NULL,
    compute_us       bigint      NOT NULL,
    response_time_us bigint      NOT NULL,
    PRIMARY KEY (key_id, hour)
);
CREATE INDEX usage_hour_of_lineage ON projector.usage_hour (lineage_id, hour);

CREATE TABLE projector.usage_endpoint_month (
    key_id           uuid    NOT NULL,
    month            date    NOT NULL,
    endpoint         text    NOT NULL,
    lineage_id       uuid    NOT NULL,
    requests         bigint  NOT NULL,
    errors           bigint  NOT NULL,
    predictions      numeric NOT NULL,
    compute_us       numeric NOT NULL,
    response_time_us numeric NOT NULL,
    PRIMARY KEY (key_id, month, endpoint)
);
CREATE INDEX usage_endpoint_month_of_lineage ON projector.usage_endpoint_month (lineage_id, month);

-- By the service that reported the use. A row for each partition of keys.usage that keys belong in, so that
-- processes that apply different partitions never wait for each other.
CREATE TABLE projector.usage_service_day (
    day              date    NOT NULL,
    service_id       text    NOT NULL,
    home             integer NOT NULL,
    requests         bigint  NOT NULL,
    errors           bigint  NOT NULL,
    predictions      numeric NOT NULL,
    compute_us       numeric NOT NULL,
    response_time_us numeric NOT NULL,
    PRIMARY KEY (day, service_id, home)
);

CREATE TABLE projector.usage_last (
    key_id       uuid        PRIMARY KEY,
    last_used_at timestamptz NOT NULL
);

-- What usage.hourly last said about a row, as the projection of that very topic saw it.
CREATE TABLE projector.usage_published (
    key_id   uuid        NOT NULL,
    hour     timestamptz NOT NULL,
    revision bigint      NOT NULL,
    PRIMARY KEY (key_id, hour)
);

-- Rows that usage.hourly has not been seen to have. `taken_until`: somebody is sending it until then.
-- `last_taken_at`: who was not sent for longest is sent first, so that busy keys never keep others waiting.
CREATE TABLE projector.usage_unpublished (
    key_id        uuid        NOT NULL,
    hour          timestamptz NOT NULL,
    revision      bigint      NOT NULL,
    taken_until   timestamptz,
    last_taken_at timestamptz,
    PRIMARY KEY (key_id, hour)
);
-- The next ones to send, however many wait.
CREATE INDEX usage_unpublished_turn ON projector.usage_unpublished (last_taken_at NULLS FIRST, key_id, hour);

-- What each node has counted in a clock hour (hours since 1970), and when keys were last admitted. Kept for
-- three hours, so these two are no function of the log.
CREATE TABLE projector.rate_window (
    lineage_id uuid   NOT NULL,
    hour       bigint NOT NULL,
    node_id    text   NOT NULL,
    kind       text   NOT NULL,
    count      bigint NOT NULL,
    PRIMARY KEY (hour, lineage_id, node_id)
);

CREATE TABLE projector.key_activity (
    key_id       uuid        PRIMARY KEY,
    last_used_at timestamptz NOT NULL
);

-- What others read.
CREATE VIEW projector.keys AS
    SELECT key.*, lineage.sequence, lineage.parked,
           greatest(usage_last.last_used_at, key_activity.last_used_at) AS last_used_at
    FROM projector.key JOIN projector.lineage USING (lineage_id)
    LEFT JOIN projector.usage_last USING (key_id)
    LEFT JOIN projector.key_activity USING (key_id);

CREATE VIEW projector.lineages AS
    SELECT lineage_id, sequence, parked FROM projector.lineage;

CREATE VIEW projector.usage_hours AS
    SELECT key_id, hour, lineage_id, requests, errors, predictions, compute_us, response_time_us
    FROM projector.usage_hour;

-- The uses of the last weeks, and what they state.
CREATE VIEW projector.usage_identities AS
    SELECT identity, period, partition, record_offset, content
    FROM projector.usage_identity;

CREATE VIEW projector.usage_months AS
    SELECT key_id, month, endpoint, lineage_id, requests, errors, predictions, compute_us, response_time_us
    FROM projector.usage_endpoint_month;

CREATE VIEW projector.usage_days AS
    SELECT day, service_id, sum(requests)::bigint AS requests, sum(errors)::bigint AS errors,
           sum(predictions) AS predictions, sum(compute_us) AS compute_us,
           sum(response_time_us) AS response_time_us
    FROM projector.usage_service_day
    GROUP BY day, service_id;

CREATE VIEW projector.rate_windows AS
    SELECT lineage_id, hour, node_id, kind, count FROM projector.rate_window;

-- The windows process has a role of its own where deploy/postgres/roles.sql was run: for its tables, and no more.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'hokusai_windows') THEN
        GRANT SELECT ON projector.schema_version, projector.log_identity, projector.open_marks
            TO hokusai_windows;
        GRANT SELECT, INSERT, UPDATE, DELETE
            ON projector.rate_window, projector.key_activity, projector.projection_offset, projector.log_mark
            TO hokusai_windows;
        GRANT SELECT, INSERT ON projector.log_refusal TO hokusai_windows;
    END IF;
END
$$;
