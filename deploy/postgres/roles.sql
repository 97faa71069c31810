-- A role for each service, with just its rights in this database. Run it as a superuser, in the database of the
-- services, before they start; running it again changes nothing. Passwords are set apart from it.
DO $$
DECLARE
    service text;
BEGIN
    FOREACH service IN ARRAY ARRAY['projector', 'windows', 'billing', 'api', 'auditor'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'hokusai_' || service) THEN
            EXECUTE format('CREATE ROLE %I LOGIN', 'hokusai_' || service);
        END IF;
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), 'hokusai_' || service);
    END LOOP;
    -- Each makes its schema anew when its version changes, and copies rows through temporary tables.
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CREATE, TEMPORARY ON DATABASE %I TO hokusai_projector, hokusai_billing',
                   current_database());
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO hokusai_windows', current_database());
END
$$;

REVOKE ALL ON SCHEMA public FROM PUBLIC;

-- Rights that outlast a schema made anew. What the windows process may do stands in the projector's own schema,
-- since it is for a few tables only.
ALTER DEFAULT PRIVILEGES FOR ROLE hokusai_projector
    GRANT USAGE ON SCHEMAS TO hokusai_api, hokusai_auditor, hokusai_windows;
ALTER DEFAULT PRIVILEGES FOR ROLE hokusai_projector GRANT SELECT ON TABLES TO hokusai_api, hokusai_auditor;
ALTER DEFAULT PRIVILEGES FOR ROLE hokusai_billing GRANT USAGE ON SCHEMAS TO hokusai_api, hokusai_auditor;
ALTER DEFAULT PRIVILEGES FOR ROLE hokusai_billing GRANT SELECT ON TABLES TO hokusai_api, hokusai_auditor;
