// The first schema. Ids that could be used as credentials are stored as SHA-256.

import type { Knex } from 'knex';

export async function up(knex: Knex): Promise<void> {
  await knex.raw(`
    CREATE TABLE clients (
      client_id         text PRIMARY KEY,
      name              text NOT NULL DEFAULT '',
      metadata          jsonb NOT NULL,              -- RFC 7591 member names; never a secret
      disabled_at       timestamptz,
      tokens_not_before timestamptz,                 -- tokens issued before are invalid
      version           integer NOT NULL DEFAULT 1,  -- the ETag
      created_at        timestamptz NOT NULL DEFAULT now(),
      updated_at        timestamptz NOT NULL DEFAULT now()
    );

    CREATE TABLE client_secrets (
      id           text PRIMARY KEY,
      client_id    text NOT NULL REFERENCES clients ON DELETE CASCADE,
      hash         text NOT NULL,                    -- sha256$… (generated) or $argon2id$… (chosen by a person)
      created_at   timestamptz NOT NULL DEFAULT now(),
      expires_at   timestamptz,                      -- NULL: does not expire
      last_used_at timestamptz
    );
    CREATE INDEX client_secrets_client ON client_secrets (client_id);

    CREATE TABLE resource_servers (
      identifier               text PRIMARY KEY,     -- absolute URI: the audience
      name                     text NOT NULL DEFAULT '',
      scopes                   text[] NOT NULL,
      access_token_format      text NOT NULL DEFAULT 'jwt' CHECK (access_token_format IN ('jwt', 'opaque')),
      access_token_ttl_seconds integer CHECK (access_token_ttl_seconds > 0),  -- NULL: the configured default
      introspection_client_id  text REFERENCES clients ON DELETE SET NULL,
      version                  integer NOT NULL DEFAULT 1,
      created_at               timestamptz NOT NULL DEFAULT now(),
      updated_at               timestamptz NOT NULL DEFAULT now()
    );
    CREATE INDEX resource_servers_introspection_client ON resource_servers (introspection_client_id);

    -- The policy: "client C may call resource server R with scopes S". No row, no token.
    CREATE TABLE client_grants (
      client_id       text NOT NULL REFERENCES clients ON DELETE CASCADE,
      resource_server text NOT NULL REFERENCES resource_servers ON DELETE CASCADE,
      scopes          text[] NOT NULL,
      version         integer NOT NULL DEFAULT 1,
      created_at      timestamptz NOT NULL DEFAULT now(),
      updated_at      timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (client_id, resource_server)
    );
    CREATE INDEX client_grants_resource_server ON client_grants (resource_server);

    CREATE TABLE users (
      id                text PRIMARY KEY,            -- the sub of its tokens
      username          text NOT NULL,
      email             text,
      password_hash     text NOT NULL,               -- $argon2id$…
      claims            jsonb NOT NULL DEFAULT '{}', -- OpenID Connect Core §5.1
      disabled_at       timestamptz,
      tokens_not_before timestamptz,
      version           integer NOT NULL DEFAULT 1,
      created_at        timestamptz NOT NULL DEFAULT now(),
      updated_at        timestamptz NOT NULL DEFAULT now()
    );
    CREATE UNIQUE INDEX users_username ON users (lower(username));

    -- Consent of users to clients. resource_server '' means the OpenID Connect scopes.
    CREATE TABLE consents (
      account_id      text NOT NULL REFERENCES users ON DELETE CASCADE,
      client_id       text NOT NULL REFERENCES clients ON DELETE CASCADE,
      resource_server text NOT NULL,
      scopes          text[] NOT NULL,
      updated_at      timestamptz NOT NULL DEFAULT now(),
      PRIMARY KEY (account_id, client_id, resource_server)
    );
    CREATE INDEX consents_client ON consents (client_id);

    CREATE TABLE signing_keys (
      kid                text PRIMARY KEY,
      alg                text NOT NULL,
      public_jwk         jsonb NOT NULL,
      sealed_private_jwk text NOT NULL,              -- AES-256-GCM
      activate_at        timestamptz NOT NULL,
      remove_at          timestamptz,
      created_at         timestamptz NOT NULL DEFAULT now()
    );

    -- The models of the engine. Partitions separate short-lived rows from long-lived ones.
    CREATE TABLE oidc_artifacts (
      model       text NOT NULL,
      id          bytea NOT NULL,                    -- SHA-256 of model and id
      payload     json NOT NULL,                     -- the engine's format, without the id; json, because jsonb would change it
      client_id   text,
      account_id  text,
      grant_id    bytea,                             -- SHA-256: the id of the Grant's own row
      uid         text,                              -- not unique: a session keeps its uid when its id changes
      user_code   text,
      issued_at   timestamptz NOT NULL,
      expires_at  timestamptz,
      consumed_at timestamptz,
      PRIMARY KEY (model, id)
    ) PARTITION BY LIST (model);
    CREATE TABLE oidc_artifacts_access_tokens PARTITION OF oidc_artifacts FOR VALUES IN ('AccessToken', 'ClientCredentials');
    CREATE TABLE oidc_artifacts_refresh_tokens PARTITION OF oidc_artifacts FOR VALUES IN ('RefreshToken');
    CREATE TABLE oidc_artifacts_codes PARTITION OF oidc_artifacts FOR VALUES IN ('AuthorizationCode');
    CREATE TABLE oidc_artifacts_grants PARTITION OF oidc_artifacts FOR VALUES IN ('Grant');
    CREATE TABLE oidc_artifacts_sessions PARTITION OF oidc_artifacts FOR VALUES IN ('Session', 'Interaction');
    CREATE TABLE oidc_artifacts_other PARTITION OF oidc_artifacts DEFAULT;
    CREATE INDEX oidc_artifacts_grant ON oidc_artifacts (grant_id) WHERE grant_id IS NOT NULL;
    CREATE INDEX oidc_artifacts_client ON oidc_artifacts (client_id) WHERE client_id IS NOT NULL;
    CREATE INDEX oidc_artifacts_account ON oidc_artifacts (account_id) WHERE account_id IS NOT NULL;
    CREATE INDEX oidc_artifacts_uid ON oidc_artifacts (uid) WHERE uid IS NOT NULL;
    CREATE INDEX oidc_artifacts_user_code ON oidc_artifacts (user_code) WHERE user_code IS NOT NULL;
    CREATE INDEX oidc_artifacts_expiry ON oidc_artifacts (expires_at) WHERE expires_at IS NOT NULL;

    -- JWT access tokens have no row; a revoked one is listed here until its expiry.
    CREATE TABLE revoked_tokens (
      jti_hash   bytea PRIMARY KEY,
      expires_at timestamptz NOT NULL
    );
    CREATE INDEX revoked_tokens_expiry ON revoked_tokens (expires_at);

    -- Single use (jti of client assertions): the insert fails for the second use.
    CREATE TABLE replay_guard (
      id         bytea PRIMARY KEY,
      expires_at timestamptz NOT NULL
    );
    CREATE INDEX replay_guard_expiry ON replay_guard (expires_at);

    -- Failed logins, with the columns of rate-limiter-flexible; expire is in milliseconds since
    -- 1970.
    CREATE TABLE login_throttle (
      key    varchar(255) PRIMARY KEY,
      points integer NOT NULL DEFAULT 0,
      expire bigint
    );

    CREATE TABLE audit_events (
      id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
      at         timestamptz NOT NULL DEFAULT now(),
      type       text NOT NULL,
      actor      text NOT NULL,                      -- client:<id>, user:<id> or system
      client_id  text,
      account_id text,
      request_id text,
      detail     jsonb NOT NULL DEFAULT '{}'
    );
    CREATE INDEX audit_events_client ON audit_events (client_id, id) WHERE client_id IS NOT NULL;
    CREATE INDEX audit_events_account ON audit_events (account_id, id) WHERE account_id IS NOT NULL;
    CREATE INDEX audit_events_type ON audit_events (type, id);
    CREATE INDEX audit_events_at ON audit_events (at);

    -- Insert only, also for the database role of the server.
    CREATE FUNCTION lanyard_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      RAISE EXCEPTION 'audit events are insert only';
    END $$;
    CREATE TRIGGER audit_events_insert_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_events
      FOR EACH STATEMENT EXECUTE FUNCTION lanyard_refuse_change();
  `);
}

export async function down(knex: Knex): Promise<void> {
  await knex.raw(`
    DROP TABLE audit_events, login_throttle, replay_guard, revoked_tokens, oidc_artifacts, signing_keys, consents, users,
      client_grants, resource_servers, client_secrets, clients;
    DROP FUNCTION lanyard_refuse_change;
  `);
}
