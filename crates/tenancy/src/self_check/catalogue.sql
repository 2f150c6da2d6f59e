-- Lists from PostgreSQL's catalogue which roles may see and change which objects. Each row has an SQL statement,
-- `made`, that produces one fact, and the statement `undone` that takes it back. Run it with
-- `search_path = pg_catalog`, so that names are printed with their schema. `<owner>` stands for the owner of the
-- migrations' own table, and `public.<partition>` for a partition of `events`.
--
-- For the queue's schema, whose tables belong to its library, it lists only what other roles than the workers' may do.
-- Policies for, and grants to, roles that the service doesn't run as are left out.
WITH run_time AS MATERIALIZED (
    -- The roles that requests and workers run as, with every role that one of these is a member of.
    SELECT o.oid, o.rolname FROM pg_roles o WHERE EXISTS (
        SELECT FROM pg_roles r WHERE r.rolname IN (current_user, 'daybook_app', 'daybook_relay', 'daybook_worker')
            AND NOT r.rolsuper AND pg_has_role(r.oid, o.oid, 'MEMBER'))
), requests AS MATERIALIZED (
    -- The roles whose policies apply to requests.
    SELECT o.oid FROM pg_roles o WHERE EXISTS (
        SELECT FROM pg_roles r WHERE r.rolname IN (current_user, 'daybook_app')
            AND NOT r.rolsuper AND pg_has_role(r.oid, o.oid, 'MEMBER'))
), owner AS MATERIALIZED (
    SELECT relowner AS oid FROM pg_class WHERE oid = to_regclass('public.daybook_migrations')
), worker AS MATERIALIZED (
    SELECT oid FROM pg_roles WHERE rolname = 'daybook_worker'
), tables AS MATERIALIZED (
    SELECT c.*, n.nspname = 'graphile_worker' AS of_queue, format('%I.%I', n.nspname, c.relname) AS object,
        CASE WHEN n.nspname = 'graphile_worker' THEN '(queue)'
            WHEN i.inhparent = to_regclass('public.events') THEN '(partition of events)'
            ELSE format('%I.%I', n.nspname, c.relname) END AS heading,
        CASE c.relkind WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END AS kind,
        EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'team_id' AND NOT a.attisdropped)
            AS of_teams
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
    WHERE c.relkind IN ('r', 'p', 'v') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
), functions AS MATERIALIZED (
    SELECT p.*, n.nspname = 'graphile_worker' AS of_queue, p.oid::regprocedure::text AS object,
        CASE WHEN n.nspname = 'graphile_worker' THEN '(queue)' ELSE p.oid::regprocedure::text END AS heading
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname IN ('public', 'graphile_worker') AND p.prokind = 'f'
), grants AS (
    SELECT heading, object, of_queue, relowner AS owner, a.grantee, a.privilege_type || ' ON ' || object AS what, a.is_grantable
        FROM tables, aclexplode(relacl) a
    UNION ALL
    SELECT heading, object, of_queue, relowner, x.grantee, format('%s (%I) ON %s', x.privilege_type, a.attname, object),
        x.is_grantable
        FROM tables t JOIN pg_attribute a ON a.attrelid = t.oid AND NOT a.attisdropped, aclexplode(a.attacl) x
    UNION ALL
    SELECT heading, object, of_queue, proowner, a.grantee, a.privilege_type || ' ON FUNCTION ' || object, a.is_grantable
        FROM functions, aclexplode(coalesce(proacl, acldefault('f', proowner))) a
), policies AS (
    SELECT t.heading, t.object, p.polname,
        -- Whether the policy can show requests rows of teams, or let requests write them.
        t.of_teams AND p.polpermissive AND p.polroles && array(SELECT 0::oid UNION ALL SELECT oid FROM requests)
            AS for_requests, p.polpermissive,
        -- A subquery with columns may reach the team through another table.
        p.polqual::text ~ '\{SUBLINK ' AND p.polqual::text ~ '\{VAR ' AS has_subquery_using,
        p.polwithcheck::text ~ '\{SUBLINK ' AND p.polwithcheck::text ~ '\{VAR ' AS has_subquery_check,
        regexp_replace(pg_get_expr(p.polqual, p.polrelid), '\s+', ' ', 'g') AS using_text,
        regexp_replace(pg_get_expr(p.polwithcheck, p.polrelid), '\s+', ' ', 'g') AS check_text,
        CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END
            AS command,
        (SELECT string_agg(CASE WHEN role = 0 THEN 'PUBLIC' WHEN role = (SELECT oid FROM owner) THEN '<owner>'
            ELSE quote_ident(pg_get_userbyid(role)) END, ', ' ORDER BY role) FROM unnest(p.polroles) AS role) AS roles
    FROM pg_policy p JOIN tables t ON t.oid = p.polrelid
    WHERE (p.polroles && array(SELECT 0::oid UNION ALL SELECT oid FROM run_time UNION ALL SELECT oid FROM owner))
      AND NOT (t.of_queue AND p.polroles = array(SELECT oid FROM worker))
), judged AS (
    SELECT p.*, using_text ~ '\mteam_id\M|daybook\.' AS names_team_using, check_text ~ '\mteam_id\M|daybook\.' AS names_team_check,
        using_text IN ('false', 'NULL::boolean') OR has_subquery_using OR using_text ~ '\mpg_has_role\(' AS may_close_using,
        check_text IN ('false', 'NULL::boolean') OR has_subquery_check OR check_text ~ '\mpg_has_role\(' AS may_close_check
    FROM policies p
), triggers AS (
    SELECT t.heading, t.object, g.tgname, g.tgisinternal, g.tgenabled, pg_get_triggerdef(g.oid) AS definition
    FROM pg_trigger g JOIN tables t ON t.oid = g.tgrelid WHERE NOT t.of_queue
), facts (place, kind, heading, object, made, undone) AS (
    SELECT 0, 'owner', heading, object, format('ALTER %s %s OWNER TO %s', kind, object,
        CASE WHEN relowner = (SELECT oid FROM owner) THEN '<owner>' ELSE quote_ident(pg_get_userbyid(relowner)) END), NULL
        FROM tables WHERE NOT of_queue
    UNION ALL
    SELECT 1, 'security', heading, object, format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', object),
        format('ALTER TABLE %s DISABLE ROW LEVEL SECURITY', object) FROM tables WHERE NOT of_queue AND relrowsecurity
    UNION ALL
    SELECT 2, 'security', heading, object, format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', object),
        format('ALTER TABLE %s NO FORCE ROW LEVEL SECURITY', object) FROM tables WHERE NOT of_queue AND relforcerowsecurity
    UNION ALL
    SELECT 2, 'security', heading, object, format('ALTER VIEW %s SET (%s)', object, option),
        format('ALTER VIEW %s RESET (%s)', object, split_part(option, '=', 1))
        FROM tables, unnest(reloptions) AS option WHERE NOT of_queue AND relkind = 'v'
    UNION ALL
    SELECT 3, CASE
            WHEN NOT for_requests THEN 'policy'
            WHEN NOT (names_team_using OR may_close_using) OR NOT (names_team_check OR may_close_check)
                THEN format('open policy %I', polname)
            WHEN NOT names_team_using OR NOT names_team_check THEN format('unproven policy %I', polname)
            ELSE 'policy' END, heading, object,
        format('CREATE POLICY %I ON %s AS %s FOR %s TO %s', polname, object,
            CASE WHEN polpermissive THEN 'PERMISSIVE' ELSE 'RESTRICTIVE' END, command, roles)
            || coalesce(' USING (' || using_text || ')', '') || coalesce(' WITH CHECK (' || check_text || ')', ''),
        format('DROP POLICY %I ON %s', polname, object) FROM judged
    UNION ALL
    SELECT 4, format('trigger %I', tgname), heading, object, definition, format('DROP TRIGGER %I ON %s', tgname, object)
        FROM triggers WHERE NOT tgisinternal
    UNION ALL
    -- Foreign keys are enforced by internal triggers, which are listed only where they are disabled.
    SELECT 5, CASE WHEN tgisinternal THEN 'foreign key' ELSE format('trigger %I', tgname) END, heading, object, format('ALTER TABLE %s %s TRIGGER %I', object,
        CASE tgenabled WHEN 'A' THEN 'ENABLE ALWAYS' WHEN 'R' THEN 'ENABLE REPLICA' ELSE 'DISABLE' END, tgname),
        format('ALTER TABLE %s ENABLE TRIGGER %I', object, tgname) FROM triggers WHERE tgenabled <> 'O'
    UNION ALL
    SELECT 6, 'owner', heading, object, format('ALTER FUNCTION %s OWNER TO %s', object,
        CASE WHEN proowner = (SELECT oid FROM owner) THEN '<owner>' ELSE quote_ident(pg_get_userbyid(proowner)) END), NULL
        FROM functions WHERE NOT of_queue
    UNION ALL
    SELECT 7, 'security', heading, object, format('ALTER FUNCTION %s SECURITY DEFINER', object),
        format('ALTER FUNCTION %s SECURITY INVOKER', object) FROM functions WHERE NOT of_queue AND prosecdef
    UNION ALL
    SELECT 8, 'setting', heading, object, format('ALTER FUNCTION %s SET %s = %s', object, name,
        CASE name WHEN 'search_path' THEN value ELSE quote_literal(value) END), format('ALTER FUNCTION %s RESET %s', object, name)
        FROM functions, unnest(proconfig) AS setting,
            LATERAL (SELECT split_part(setting, '=', 1) AS name, substr(setting, strpos(setting, '=') + 1) AS value) s
        WHERE NOT of_queue
    UNION ALL
    SELECT 9, 'body', heading, object, format('-- body of %s: %s', object, md5(prosrc)), NULL FROM functions WHERE NOT of_queue
    UNION ALL
    SELECT 10, 'grant', heading, object, format('GRANT %s TO %s', what, grantee_name) || CASE WHEN is_grantable
        THEN ' WITH GRANT OPTION' ELSE '' END, format('REVOKE %s FROM %s', what, grantee_name)
        FROM grants, LATERAL (SELECT CASE WHEN grantee = 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END
            AS grantee_name) n
        WHERE grantee <> owner AND (grantee = 0 OR grantee IN (SELECT oid FROM run_time))
          AND NOT (of_queue AND grantee = (SELECT oid FROM worker))
)
SELECT heading, object, kind, undone,
    CASE heading WHEN '(partition of events)' THEN replace(made, object, 'public.<partition>') ELSE made END AS made
FROM facts ORDER BY heading, object, place, made COLLATE "C"
