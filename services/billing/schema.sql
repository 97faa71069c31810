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
    PRIMARY KEY (key_id, hour)
);
CREATE INDEX hour_of_lineage ON billing.hour (lineage_id, hour);
-- What no statement has named yet: the use of the running month, and what is told late.
CREATE INDEX hour_unnamed ON billing.hour (hour) WHERE revision > named_revision;

-- Whom to bill, and on what terms: as the lineage was created, since rotation changes neither.
CREATE TABLE billing.account (
    lineage_id               uuid   PRIMARY KEY,
    billing_plan             text   NOT NULL,
    monthly_prediction_limit bigint
);

-- The first record of each (lineage, month) in billing.statements, and where it stands.
CREATE TABLE billing.statement (
    lineage_id    uuid    NOT NULL,
    month         date    NOT NULL,
    partition     integer NOT NULL,
    record_offset bigint  NOT NULL,
    total         numeric NOT NULL,
    PRIMARY KEY (lineage_id, month)
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
-- back from the log.
CREATE TABLE billing.outgoing (
    lineage_id uuid  NOT NULL,
    month      date  NOT NULL,
    value      bytea NOT NULL,
    PRIMARY KEY (lineage_id, month)
);

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
        SELECT lineage_id, date_trunc('month', hour AT TIME ZONE 'UTC')::date AS month,
               sum(requests)::bigint AS requests, sum(predictions) AS predictions, sum(compute_us) AS compute_us
        FROM billing.hour
        WHERE revision > 0
        GROUP BY lineage_id, month
    ) AS used
    LEFT JOIN billing.account USING (lineage_id)
    CROSS JOIN LATERAL (
        SELECT overage FROM billing.price WHERE valid_from <= month ORDER BY valid_from DESC LIMIT 1
    ) AS price;
