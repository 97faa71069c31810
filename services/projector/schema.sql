-- The read models of the log. All of it can be dropped: the projector fills it again, row for row.
-- No column holds a processing time, or anything else that is not a function of the records.

CREATE SCHEMA projector;

CREATE TABLE projector.schema_version (version integer NOT NULL);

-- Whose log the rows below were made from.
CREATE TABLE projector.log_identity (
    cluster_id text    NOT NULL,
    only_row   boolean PRIMARY KEY DEFAULT true CHECK (only_row)
);

-- How far each partition is applied, and which claim may apply more of it (see events/projection.sql).
CREATE TABLE projector.projection_offset (
    projection  text    NOT NULL,
    topic       text    NOT NULL,
    partition   integer NOT NULL,
    next_offset bigint  NOT NULL,
    owner_epoch bigint  NOT NULL,
    PRIMARY KEY (projection, topic, partition)
) WITH (fillfactor = 10);  -- every batch updates a row: leave room for that beside it

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

-- What others read. Nothing tells about use yet.
CREATE VIEW projector.keys AS
    SELECT key.*, lineage.sequence, lineage.parked, NULL::timestamptz AS last_used_at
    FROM projector.key JOIN projector.lineage USING (lineage_id);

CREATE VIEW projector.lineages AS
    SELECT lineage_id, sequence, parked FROM projector.lineage;

CREATE VIEW projector.positions AS
    SELECT topic, partition, next_offset FROM projector.projection_offset;

CREATE VIEW projector.identity AS
    SELECT cluster_id FROM projector.log_identity;
