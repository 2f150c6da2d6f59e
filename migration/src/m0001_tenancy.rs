//! Roles, teams, people, memberships and API keys, and who may see them.
//!
//! `teams` and `users` have no `team_id`, so they have their own policies. A team is visible from inside it and to its
//! members. A person is visible through a common team, and to a caller that names their exact identity.

use sea_orm_migration::prelude::*;

use crate::rls::{APP_ROLE, CURRENT_TEAM, CURRENT_USER_ID, enable_team_rls, ensure_roles};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        ensure_roles(manager).await?;
        let connection = manager.get_connection();
        connection
            .execute_unprepared(
                "CREATE TABLE teams (
                    id uuid PRIMARY KEY,
                    name text NOT NULL CONSTRAINT teams_name_length CHECK (char_length(name) BETWEEN 1 AND 200),
                    created_at timestamptz NOT NULL DEFAULT now()
                );
                CREATE TABLE users (
                    id uuid PRIMARY KEY,
                    issuer text NOT NULL,
                    subject text NOT NULL,
                    display_name text NOT NULL
                        CONSTRAINT users_display_name_length CHECK (char_length(display_name) BETWEEN 1 AND 200),
                    email text,
                    created_at timestamptz NOT NULL DEFAULT now(),
                    updated_at timestamptz NOT NULL DEFAULT now(),
                    CONSTRAINT users_identity_key UNIQUE (issuer, subject)
                );
                CREATE TABLE memberships (
                    team_id uuid NOT NULL REFERENCES teams (id),
                    user_id uuid NOT NULL REFERENCES users (id),
                    role text NOT NULL CONSTRAINT memberships_role_known
                        CHECK (role IN ('viewer', 'member', 'admin', 'owner')),
                    handle text NOT NULL CONSTRAINT memberships_handle_shape
                        CHECK (handle ~ '^[a-z0-9][a-z0-9._-]{0,31}$'),
                    created_at timestamptz NOT NULL DEFAULT now(),
                    CONSTRAINT memberships_pkey PRIMARY KEY (team_id, user_id),
                    CONSTRAINT memberships_handle_key UNIQUE (team_id, handle)
                );
                CREATE INDEX memberships_user_idx ON memberships (user_id);
                CREATE TABLE api_keys (
                    team_id uuid NOT NULL REFERENCES teams (id),
                    id uuid NOT NULL,
                    name text NOT NULL CONSTRAINT api_keys_name_length CHECK (char_length(name) BETWEEN 1 AND 200),
                    prefix text NOT NULL,
                    secret_sha256 bytea NOT NULL CHECK (octet_length(secret_sha256) = 32),
                    role text NOT NULL CONSTRAINT api_keys_role_known CHECK (role IN ('viewer', 'member', 'admin')),
                    created_by uuid,
                    created_at timestamptz NOT NULL DEFAULT now(),
                    expires_at timestamptz,
                    revoked_at timestamptz,
                    PRIMARY KEY (team_id, id),
                    CONSTRAINT api_keys_prefix_key UNIQUE (team_id, prefix)
                );",
            )
            .await?;
        enable_team_rls(manager, "memberships").await?;
        enable_team_rls(manager, "api_keys").await?;

        // At sign-in and when a person is added to a team, the caller names the person exactly, by issuer and subject.
        // A caller that can name them may see, create and update that one row.
        let named = "issuer = nullif(current_setting('daybook.issuer', true), '')
                 AND subject = nullif(current_setting('daybook.subject', true), '')";
        connection
            .execute_unprepared(&format!(
                // Only outside a team: code inside a team has no reason to see a person's other teams.
                "CREATE POLICY own_memberships ON memberships FOR SELECT
                     USING ({CURRENT_TEAM} IS NULL AND user_id = {CURRENT_USER_ID});

                 ALTER TABLE teams ENABLE ROW LEVEL SECURITY;
                 ALTER TABLE teams FORCE ROW LEVEL SECURITY;
                 CREATE POLICY current_team ON teams USING (id = {CURRENT_TEAM}) WITH CHECK (id = {CURRENT_TEAM});
                 CREATE POLICY own_teams ON teams FOR SELECT USING ({CURRENT_TEAM} IS NULL AND EXISTS (
                     SELECT FROM memberships m WHERE m.team_id = teams.id AND m.user_id = {CURRENT_USER_ID}));
                 CREATE POLICY owner_lists_teams ON teams FOR SELECT TO CURRENT_USER USING (true);
                 GRANT SELECT, INSERT, UPDATE (name) ON teams TO {APP_ROLE};

                 ALTER TABLE users ENABLE ROW LEVEL SECURITY;
                 ALTER TABLE users FORCE ROW LEVEL SECURITY;
                 CREATE POLICY named ON users USING ({named}) WITH CHECK ({named});
                 CREATE POLICY common_team ON users FOR SELECT USING (EXISTS (
                     SELECT FROM memberships m WHERE m.team_id = {CURRENT_TEAM} AND m.user_id = users.id));
                 GRANT SELECT, INSERT, UPDATE (display_name, email, updated_at) ON users TO {APP_ROLE};

                 SELECT set_config('daybook.team_id', '{system}', true);
                 INSERT INTO teams (id, name) VALUES ('{system}', 'system');
                 SELECT set_config('daybook.team_id', '', true);",
                system = "00000000-0000-7000-8000-000000000001",
            ))
            .await?;
        connection.execute_unprepared(ENTRY_FUNCTIONS).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // The roles stay: other databases of the cluster use them.
        manager
            .get_connection()
            .execute_unprepared(
                "DROP FUNCTION daybook_enter_person, daybook_enter_member;
                 DROP POLICY own_teams ON teams;
                 DROP POLICY common_team ON users;
                 DROP TABLE api_keys, memberships, users, teams;",
            )
            .await?;
        Ok(())
    }
}

/// The functions that set who acts. They are in PL/pgSQL so that each connection plans them once: when they were
/// planned at every entry, the policies made them seven times as slow. They run with the caller's rights, under the
/// caller's policies.
pub(crate) const ENTRY_FUNCTIONS: &str = "
    -- A person by their identity: sets who acts, and gives their row, and their role if they are a member.
    CREATE FUNCTION daybook_enter_person(team uuid, named_issuer text, named_subject text)
        RETURNS TABLE (id uuid, name text, role text) LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM set_config('daybook.issuer', named_issuer, true), set_config('daybook.subject', named_subject, true);
        SELECT u.id, u.display_name INTO id, name FROM public.users u
            WHERE u.issuer = named_issuer AND u.subject = named_subject;
        IF NOT FOUND THEN
            RETURN;
        END IF;
        SELECT m.role INTO role FROM public.memberships m WHERE m.team_id = team AND m.user_id = daybook_enter_person.id;
        PERFORM set_config('daybook.user_id', id::text, true), set_config('daybook.actor', 'user:' || id, true);
        RETURN NEXT;
    END $$;

    -- A member by their id, for work that carries on with a context.
    CREATE FUNCTION daybook_enter_member(team uuid, member uuid)
        RETURNS TABLE (id uuid, name text, role text) LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM set_config('daybook.user_id', member::text, true), set_config('daybook.actor', 'user:' || member, true);
        SELECT m.user_id, m.role INTO id, role FROM public.memberships m
            WHERE m.team_id = team AND m.user_id = member;
        IF NOT FOUND THEN
            RETURN;
        END IF;
        SELECT u.display_name INTO name FROM public.users u WHERE u.id = member;
        RETURN NEXT;
    END $$;";
