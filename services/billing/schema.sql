-- The ledger, the accounts and the statements, as the log has them. All of it but `outgoing` can be dropped:
-- billing fills it again, row for row. What was outgoing is in the log by then, or is written anew.

-- Absolute totals of each key and hour: those of the highest revision in usage.hourly. `named_revision`: the
-- highest one that a statement was computed from. A row that only a statement has told of so far, which
-- happens while the schema is filled, has revision 0 and no use.
CREATE TABLE billing.hour (
    key_id           uuid        NOT NULL,
    hour             timestamptz NOT NULL,
    lineage_id       uuid        NOT NULL,
    service_id       text        NOT NULL DEFAULT '',
    revision         bigint      NOT NULL DEFAULT 0,
    named_revision   bigint      NOT NULL DEFAULT 0,
    requests         bigint      NOT NULL DEFAULT 0,
    errors           bigint      NOT NULL DEFAULT 0,
    predictions      bigint      NOT NULL DEFAULT 0,
    compute_us       bigint      NOT NULL DEFAULT 0,
    response_time_us bigint      NOT NULL DEFAULT 0,
    month            date        GENERATED ALWAYS AS (date_trunc('month', hour AT TIME ZONE 'UTC')::date) STORED,
    PRIMARY KEY (key_id, hour)
);
CREATE INDEX hour_of_lineage ON billing.hour (lineage_id, hour);
-- What no statement has named yet: the use of the running month, and what is told late. Closing goes from one
-- lineage of a month to the next, however many hours each has.
CREATE INDEX hour_unnamed ON billing.hour (month, lineage_id) WHERE revision > named_revision;

-- Whom to bill, and on what terms: as the lineage was created, since rotation changes neither.
CREATE TABLE billing.account (
    lineage_id               uuid   PRIMARY KEY,
    billing_plan             text   NOT NULL,
    monthly_prediction_limit bigint
);

-- The first StatementClosed of each (lineage, month) in billing.statements, and where it stands. One of several
-- `parts` counts once all of them are read: nothing more is closed for its lineage before.
CREATE TABLE billing.statement (
    lineage_id    uuid    NOT NULL,
    month         date    NOT NULL,
    partition     integer NOT NULL,
    record_offset bigint  NOT NULL,
    total         numeric NOT NULL,
    parts         integer NOT NULL,
    digest        text,
    PRIMARY KEY (lineage_id, month)
);
CREATE INDEX statement_in_parts ON billing.statement (lineage_id) WHERE parts > 1;

-- Further parts, the first record of each. `is_applied`: its statement is known, and the ledger names its revisions.
CREATE TABLE billing.statement_part (
    lineage_id uuid    NOT NULL,
    month      date    NOT NULL,
    digest     text    NOT NULL,
    part       integer NOT NULL,
    revisions  jsonb   NOT NULL,
    is_applied boolean NOT NULL DEFAULT false,
    PRIMARY KEY (lineage_id, month, digest, part)
);
CREATE VIEW billing.statement_in_parts_unread AS
    SELECT lineage_id, month FROM billing.statement
    WHERE parts > 1 AND parts > 1 + (
        SELECT count(*) FROM billing.statement_part AS part
        WHERE part.lineage_id = statement.lineage_id AND part.month = statement.month
          AND part.digest = statement.digest
    );

CREATE TABLE billing.statement_line (
    lineage_id           uuid    NOT NULL,
    statement_month      date    NOT NULL,
    position             integer NOT NULL,
    kind                 text    NOT NULL,
    month                date    NOT NULL,
    requests             bigint  NOT NULL,
    predictions          bigint  NOT NULL,
    compute_us           bigint  NOT NULL,
    billable_predictions bigint  NOT NULL,
    unit_price           numeric NOT NULL,
    amount               numeric NOT NULL,
    PRIMARY KEY (lineage_id, statement_month, position)
);

-- Statements on their way: their bytes are settled here before they are sent, and stay until they are read
-- back from the log. Part 1 is the statement itself.
CREATE TABLE billing.outgoing (
    lineage_id uuid    NOT NULL,
    month      date    NOT NULL,
    part       integer NOT NULL,
    value      bytea   NOT NULL,
    PRIMARY KEY (lineage_id, month, part)
);

-- `announced_until`: uses that were appended to keys.usage before are in usage.hourly, as usage.progress says.
-- `complete_until`: they are in the ledger. Both in the broker's time, unknown at first.
CREATE TABLE billing.watermark (
    announced_until timestamptz,
    complete_until  timestamptz,
    only_row        boolean PRIMARY KEY DEFAULT true CHECK (only_row)
);
INSERT INTO billing.watermark DEFAULT VALUES;

-- services/billing/prices.py, for the view below.
CREATE TABLE billing.price (
    valid_from date    PRIMARY KEY,
    overage    numeric NOT NULL
);

-- What others read. Months are UTC, whatever the zone of the session. `overage` in US dollars, as rating.py
-- computes it.
CREATE VIEW billing.months AS
    SELECT lineage_id, month, requests, predictions, compute_us,
           round(greatest(predictions - monthly_prediction_limit, 0) * price.overage, 6) AS overage
    FROM (
        SELECT lineage_id, month, sum(requests)::bigint AS requests, sum(predictions) AS predictions,
               sum(compute_us) AS compute_us
        FROM billing.hour
        WHERE revision > 0
        GROUP BY lineage_id, month
    ) AS used
    LEFT JOIN billing.account USING (lineage_id)
    CROSS JOIN LATERAL (
        SELECT overage FROM billing.price WHERE valid_from <= month ORDER BY valid_from DESC LIMIT 1
    ) AS price;
