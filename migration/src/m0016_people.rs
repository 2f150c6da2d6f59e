//! Invitations, names that belong to a membership, and API keys with an owner.
//!
//! **Invitations.** Adding a person to a team writes a row of `invitations`, and only the person's own token turns it
//! into a membership. Pending invitations have their own table, so that no query over `memberships` can treat one as a
//! member.
//!
//! **Names.** `users.own_name` and `own_email` come from the person's own verified token, or from the person. Until
//! they exist, a team sees the name that it entered itself, `memberships.display_name`. `users.display_name` and
//! `users.email` stay for processes of an older version; new rows have the subject there.
//!
//! **Keys.** `api_keys.owned_by` is the member with whose rights the key was made. The key is revoked with that member.
//! A key that another key made is owned by that key's owner. An older key whose maker isn't known has no owner.

use sea_orm_migration::prelude::*;

use crate::m0001_tenancy::ENTRY_FUNCTIONS;
use crate::rls::{APP_ROLE, CURRENT_TEAM, enable_team_rls};

/// Table and constraint, for columns that are still empty.
pub(crate) const CHECKS: [(&str, &str); 3] = [
    ("users", "users_own_name_length"),
    ("users", "users_named_by_known"),
    ("memberships", "memberships_display_name_length"),
];

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

/// The person whom the transaction names exactly, as in the policy `named` on `users`.
const NAMED: &str = "issuer = nullif(current_setting('daybook.issuer', true), '')
                 AND subject = nullif(current_setting('daybook.subject', true), '')";

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        connection
            .execute_unprepared(
                // In the order in which requests lock these tables.
                "SET LOCAL lock_timeout = '5s';
                 ALTER TABLE api_keys
                    ADD COLUMN owned_by uuid,
                    ADD COLUMN adopted_at timestamptz;
                 ALTER TABLE users
                    ADD COLUMN own_name text,
                    ADD COLUMN own_email text,
                    ADD COLUMN named_by text,
                    ADD CONSTRAINT users_own_name_length CHECK (char_length(own_name) BETWEEN 1 AND 200) NOT VALID,
                    ADD CONSTRAINT users_named_by_known CHECK (named_by IN ('token', 'self')) NOT VALID;
                 ALTER TABLE memberships
                    ADD COLUMN display_name text,
                    ADD COLUMN email text,
                    ADD CONSTRAINT memberships_display_name_length
                        CHECK (char_length(display_name) BETWEEN 1 AND 200) NOT VALID;
                 CREATE TABLE invitations (
                    team_id uuid NOT NULL REFERENCES teams (id),
                    id uuid NOT NULL,
                    issuer text NOT NULL,
                    subject text NOT NULL,
                    role text NOT NULL CONSTRAINT invitations_role_known
                        CHECK (role IN ('viewer', 'member', 'admin', 'owner')),
                    handle text NOT NULL CONSTRAINT invitations_handle_shape
                        CHECK (handle ~ '^[a-z0-9][a-z0-9._-]{0,31}$'),
                    display_name text NOT NULL
                        CONSTRAINT invitations_display_name_length CHECK (char_length(display_name) BETWEEN 1 AND 200),
                    email text,
                    invited_by uuid,
                    invited_by_name text NOT NULL,
                    created_at timestamptz NOT NULL DEFAULT now(),
                    PRIMARY KEY (team_id, id),
                    CONSTRAINT invitations_identity_key UNIQUE (team_id, issuer, subject),
                    CONSTRAINT invitations_handle_key UNIQUE (team_id, handle)
                 );
                 -- A person reads their invitations outside a team, by their identity.
                 CREATE INDEX invitations_identity_idx ON invitations (issuer, subject);
                 SET LOCAL lock_timeout = 0;",
            )
            .await?;
        enable_team_rls(manager, "invitations").await?;
        connection
            .execute_unprepared(&format!(
                // Only outside a team: code inside a team has no reason to see a person's other invitations.
                "CREATE POLICY own_invitations ON invitations FOR SELECT USING ({CURRENT_TEAM} IS NULL AND {NAMED});
                 CREATE POLICY inviting_teams ON teams FOR SELECT USING ({CURRENT_TEAM} IS NULL AND EXISTS (
                     SELECT FROM invitations i WHERE i.team_id = teams.id AND {NAMED}));
                 GRANT UPDATE (own_name, own_email, named_by), DELETE ON users TO {APP_ROLE};"
            ))
            .await?;
        connection.execute_unprepared(NAMES_OF_MEMBERS).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        connection
            .execute_unprepared(&format!(
                "DROP POLICY inviting_teams ON teams;
                 DROP TABLE invitations;
                 ALTER TABLE api_keys DROP COLUMN owned_by, DROP COLUMN adopted_at;
                 ALTER TABLE memberships DROP COLUMN display_name, DROP COLUMN email;
                 ALTER TABLE users DROP COLUMN own_name, DROP COLUMN own_email, DROP COLUMN named_by;
                 REVOKE DELETE ON users FROM {APP_ROLE};"
            ))
            .await?;
        // The functions are replaced, not created again, so that the rights to execute them stay as they are.
        let replaced = ENTRY_FUNCTIONS.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION");
        connection
            .execute_unprepared(&format!(
                "{replaced}
                 ALTER FUNCTION public.daybook_enter_person(uuid, text, text) SET search_path = pg_catalog, pg_temp;
                 ALTER FUNCTION public.daybook_enter_member(uuid, uuid) SET search_path = pg_catalog, pg_temp;"
            ))
            .await?;
        Ok(())
    }
}

/// The entry functions of the first migration, extended by the name that the person has in this team. They run with the
/// caller's rights, under the caller's policies.
const NAMES_OF_MEMBERS: &str = "
    CREATE OR REPLACE FUNCTION public.daybook_enter_person(team uuid, named_issuer text, named_subject text)
        RETURNS TABLE (id uuid, name text, role text) LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    DECLARE
        own_name text;
        fallback text;
    BEGIN
        PERFORM pg_catalog.set_config('daybook.issuer', named_issuer, true),
            pg_catalog.set_config('daybook.subject', named_subject, true);
        SELECT u.id, u.own_name, u.display_name INTO id, own_name, fallback FROM public.users u
            WHERE u.issuer = named_issuer AND u.subject = named_subject;
        IF NOT FOUND THEN
            RETURN;
        END IF;
        SELECT m.role, m.display_name INTO role, name FROM public.memberships m
            WHERE m.team_id = team AND m.user_id = daybook_enter_person.id;
        name := coalesce(own_name, name, fallback);
        PERFORM pg_catalog.set_config('daybook.user_id', id::pg_catalog.text, true),
            pg_catalog.set_config('daybook.actor', 'user:' || id, true);
        RETURN NEXT;
    END $$;

    CREATE OR REPLACE FUNCTION public.daybook_enter_member(team uuid, member uuid)
        RETURNS TABLE (id uuid, name text, role text) LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
    BEGIN
        PERFORM pg_catalog.set_config('daybook.user_id', member::pg_catalog.text, true),
            pg_catalog.set_config('daybook.actor', 'user:' || member, true);
        SELECT m.user_id, m.role, coalesce(u.own_name, m.display_name, u.display_name) INTO id, role, name
            FROM public.memberships m JOIN public.users u ON u.id = m.user_id
            WHERE m.team_id = team AND m.user_id = member;
        IF NOT FOUND THEN
            RETURN;
        END IF;
        RETURN NEXT;
    END $$;";
